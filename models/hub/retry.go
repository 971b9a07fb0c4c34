package hub

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// hooks are what tests replace; the zero value is the real world.
type hooks struct {
	sleep func(context.Context, time.Duration) error
	now   func() time.Time
	free  func(dir string) (uint64, error) // bytes that may still be written below dir
	proxy func(*http.Request) (*url.URL, error)
	piece int64 // bytes of a range
}

// maxRetries is how often an answer that may pass is asked for again.
const maxRetries = 5

// maxWait bounds what a server may ask for; quotas are refilled every 300 s.
const maxWait = 10 * time.Minute

// backoff is the wait before retry n = 0, 1, ...: 1, 2, 4, 8, 8 s.
func backoff(n int) time.Duration { return time.Second << min(n, 3) }

// retriable are the answers that may be better the next time.
func retriable(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// waitFor is the wait before retry n of an answer: what a 429 asks for, else
// the backoff.
func waitFor(resp *http.Response, n int) time.Duration {
	if resp == nil || resp.StatusCode != http.StatusTooManyRequests {
		return backoff(n)
	}
	if t, ok := resetIn(resp.Header.Get("RateLimit")); ok {
		return min(t+time.Second, maxWait)
	}
	if s, err := strconv.Atoi(strings.TrimSpace(resp.Header.Get("Retry-After"))); err == nil && s >= 0 {
		return min(time.Duration(min(s, 86400))*time.Second, maxWait)
	}
	return backoff(n)
}

// resetIn reads the t (seconds until the quota is refilled) of a RateLimit
// header, for example `"api";r=0;t=55`.
func resetIn(h string) (time.Duration, bool) {
	for h != "" {
		var p string
		p, h = cutQuoted(h, ';')
		key, val, _ := strings.Cut(strings.TrimSpace(p), "=")
		if key != "t" {
			continue
		}
		if s, err := strconv.Atoi(strings.TrimSpace(val)); err == nil && s >= 0 {
			return time.Duration(min(s, 86400)) * time.Second, true
		}
	}
	return 0, false
}

// wait waits, or returns the context's error at once when it ends.
func (h hooks) wait(ctx context.Context, d time.Duration) error {
	if h.sleep != nil {
		return h.sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

func (h hooks) time() time.Time {
	if h.now != nil {
		return h.now()
	}
	return time.Now()
}
