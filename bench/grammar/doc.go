// Package grammar judges remote-client-server/tokenize/grammar by libraries that it must not depend on: what a random
// model writes through the masks of a schema is validated by santhosh-tekuri/jsonschema, what it writes through those
// of a pattern is matched by Go's regexp, and the other way round.
package grammar
