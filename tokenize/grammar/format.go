package grammar

// annotated are formats that say how a program holds a value, not how it is spelt.
var annotated = map[string]bool{
	"int32": true, "int64": true, "float": true, "double": true, "decimal": true, "password": true, "byte": true,
	"binary": true, "string": true, "number": true, "integer": true,
}

const (
	fullDate = `(?:\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8]))` +
		`|(?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)`
	fullTime = `(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)`
	label    = `[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?`
	host     = label + `(?:\.` + label + `){0,5}`
	mailbox  = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}"
	octet    = `(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)`
	address4 = octet + `(?:\.` + octet + `){3}`
	h16      = `[0-9A-Fa-f]{1,4}`
	pchar    = `(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})`
	suffix   = `(?:\?(?:` + pchar + `|[/?])*)?(?:#(?:` + pchar + `|[/?])*)?`
)

// formats are the formats of JSON Schema that are regular, some narrower than their standards: years have four digits
// and leap seconds are left out (RFC 3339), names have at most six labels of at most 32 characters (RFC 1123), local
// parts of mail addresses are dotted atoms (RFC 5321), a URI's host is a name or an IPv4 address (RFC 3986).
var formats = map[string]string{
	"date":      fullDate,
	"time":      fullTime,
	"date-time": fullDate + `T` + fullTime,
	"duration":  `P(?:\d{1,4}W|(?:\d{1,4}Y(?:\d{1,4}M(?:\d{1,4}D)?)?|\d{1,4}M(?:\d{1,4}D)?|\d{1,4}D)(?:T` + clock + `)?|T` + clock + `)`,
	"email":     mailbox + `(?:\.` + mailbox + `){0,2}@` + host,
	"hostname":  host,
	"ipv4":      address4,
	"ipv6": `(?:` + h16 + `:){7}` + h16 + `|(?:` + h16 + `:){1,7}:|(?:` + h16 + `:){1,6}:` + h16 +
		`|(?:` + h16 + `:){1,5}(?::` + h16 + `){1,2}|(?:` + h16 + `:){1,4}(?::` + h16 + `){1,3}|(?:` + h16 + `:){1,3}(?::` + h16 + `){1,4}` +
		`|(?:` + h16 + `:){1,2}(?::` + h16 + `){1,5}|` + h16 + `:(?::` + h16 + `){1,6}|:(?:(?::` + h16 + `){1,7}|:)`,
	"uuid": `[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}`,
	"uri":  `[A-Za-z][A-Za-z0-9+.-]{0,20}:(?://` + host + `(?::\d{1,4})?(?:/` + pchar + `*)*|` + pchar + `(?:` + pchar + `|/)*)` + suffix,
	"url":  `https?://` + host + `(?::\d{1,4})?(?:/` + pchar + `*)*` + suffix,
}

const clock = `(?:\d{1,4}H(?:\d{1,4}M(?:\d{1,4}S)?)?|\d{1,4}M(?:\d{1,4}S)?|\d{1,4}S)`
