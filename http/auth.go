package http

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"

	"github.com/valyala/fasthttp"
)

// keys are the API keys that are accepted, as hashes: comparing those takes the
// same time for a near miss as for nonsense, whatever the keys' lengths. No
// keys let everyone in.
type keys [][sha256.Size]byte

func newKeys(words []string) keys {
	var k keys
	for _, w := range words {
		k = append(k, sha256.Sum256([]byte(w)))
	}
	return k
}

// accept says whether word is one of the keys. It looks at all of them, so that
// the time does not tell which one.
func (k keys) accept(word string) bool {
	h := sha256.Sum256([]byte(word))
	found := 0
	for i := range k {
		found |= subtle.ConstantTimeCompare(h[:], k[i][:])
	}
	return found == 1
}

// open says whether a route needs no key: what load balancers, scalers and
// scrapers ask without knowing one, and the pages on which a person would
// enter it. It tells nothing of requests and runs nothing.
func (r route) open() bool {
	switch r {
	case healthRoute, modelLoadedRoute, metricsRoute, pageRoute, liveRoute, readyRoute, v2ReadyRoute:
		return true
	}
	return false
}

// admitted says whether the request may pass; it answers itself when not.
func (c *call) admitted() bool {
	k := c.s.keys
	if len(k) == 0 || c.to.route.open() {
		return true
	}
	scheme, word, _ := strings.Cut(string(c.ctx.Request.Header.Peek("Authorization")), " ")
	if strings.EqualFold(scheme, "Bearer") && k.accept(strings.TrimSpace(word)) {
		return true
	}
	c.ctx.Response.Header.Set("WWW-Authenticate", "Bearer")
	f := failure{status: fasthttp.StatusUnauthorized, code: "invalid_api_key", message: "the API key is wrong"}
	if word == "" {
		f.message = "an API key is needed, as in Authorization: Bearer KEY"
	}
	c.fail(f)
	return false
}
