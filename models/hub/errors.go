package hub

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// What can go wrong; errors of this package match one of these with errors.Is
// where a caller may want to tell them apart.
var (
	ErrRequest     = errors.New("the request cannot be right")           // a bad repository id, revision, kind
	ErrNotFound    = errors.New("repository or file not found")          // or private: the Hub does not say which
	ErrRevision    = errors.New("revision not found")                    // no such branch, tag or commit
	ErrGated       = errors.New("gated repository")                      // its licence was not accepted
	ErrToken       = errors.New("token refused")                         // wrong or expired
	ErrDenied      = errors.New("access denied")                         // the token lacks the permission, or the repository is disabled
	ErrRateLimited = errors.New("rate limited")                          // after all retries
	ErrUnreachable = errors.New("the Hub cannot be reached")             // connection errors, timeouts, 5xx after all retries
	ErrNotHub      = errors.New("the answer does not come from a Hub")   // a captive portal or a proxy's page
	ErrOffline     = errors.New("offline mode is on")                    // and the files are not all there
	ErrDisk        = errors.New("not enough disk space")                 // before or during the download
	ErrFolder      = errors.New("the model folder cannot be written")    // read-only, no folder, links inside
	ErrIntegrity   = errors.New("the received bytes are not the file's") // size or hash, also the second time
	ErrListing     = errors.New("the repository's listing is refused")   // unsafe names, absurd sizes
	ErrIncomplete  = errors.New("model files are missing")               // of a folder, or of the repository itself
	ErrAdapter     = errors.New("the repository holds only an adapter")  // no weights of its own
)

// refusal is the error of an answer from u that is no success, nil for a
// success. Storage is what a signed URL leads to; it knows no token.
func refusal(resp *http.Response, repo string, u *url.URL, storage bool) error {
	if resp.StatusCode < 400 {
		return nil
	}
	h := resp.Header
	said := clip(h.Get("X-Error-Message"))
	var kind error
	text := ""
	switch code := h.Get("X-Error-Code"); {
	case storage && (resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusUnauthorized):
		kind, text = ErrDenied, "the storage refuses the Hub's signed URL; is this machine's clock right?"
	case code == "RevisionNotFound":
		kind, text = ErrRevision, repo+" has no such branch, tag or commit"
	case code == "EntryNotFound":
		kind, text = ErrNotFound, "there is no such file at this revision"
	case code == "GatedRepo":
		kind, text = ErrGated, fmt.Sprintf("%s asks for two steps: accept its licence on its web page (%s://%s/%s), then give the token of that account (HF_TOKEN)", repo, u.Scheme, u.Host, repo)
	case said == "Invalid credentials in Authorization header":
		kind, text = ErrToken, "the token is wrong or expired: make a new one and set HF_TOKEN"
	case said == "Access to this resource is disabled.":
		kind, text = ErrDenied, repo+" was disabled by the Hub"
	case code == "RepoNotFound", resp.StatusCode == http.StatusUnauthorized:
		kind, text = ErrNotFound, repo+" does not exist, or it is private and needs a token that may read it (HF_TOKEN)"
	case resp.StatusCode == http.StatusForbidden:
		kind, text = ErrDenied, "the token lacks the permission to read "+repo
	case resp.StatusCode == http.StatusTooManyRequests:
		kind, text = ErrRateLimited, "wait some minutes, or give a token (HF_TOKEN) for a higher quota"
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusMethodNotAllowed, resp.StatusCode == http.StatusGone:
		kind, text = ErrNotFound, "there is nothing"
	case retriable(resp.StatusCode):
		kind, text = ErrUnreachable, "it fails at the moment"
	default:
		kind, text = ErrUnreachable, "an answer that is not expected"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d at %s", text, resp.StatusCode, where(u))
	if said != "" && kind != ErrToken {
		fmt.Fprintf(&b, ": %q", said)
	}
	if id := requestID(h); id != "" {
		b.WriteString(", request id " + id)
	}
	return &answerError{kind: kind, text: b.String(), status: resp.StatusCode, coded: h.Get("X-Error-Code") != ""}
}

// answerError is the error of one answer.
type answerError struct {
	kind   error
	text   string
	status int
	coded  bool // the Hub named the reason itself
}

func (e *answerError) Error() string { return e.kind.Error() + ": " + e.text }
func (e *answerError) Unwrap() error { return e.kind }

// requestID is what the Hub's support asks for.
func requestID(h http.Header) string {
	for _, name := range []string{"X-Request-Id", "X-Amzn-Trace-Id", "X-Amz-Cf-Id"} {
		if v := h.Get(name); v != "" {
			return clip(v)
		}
	}
	return ""
}

// clip makes a header's value fit for one line of a log.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > 300 {
		s = s[:300] + "..."
	}
	return s
}
