package hub

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// lockPoll is how often a waiter looks; a holder that dies frees the lock.
const lockPoll = 100 * time.Millisecond

// lock takes the lock of a folder's download between processes and returns its
// release. It waits for another holder, which it logs once.
func lock(ctx context.Context, f *os.File, what string) (release func(), err error) {
	said := false
	for {
		ok, err := tryLock(f)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("%w: locking %s: %w", ErrFolder, what, err)
		}
		if ok {
			return func() { unlock(f); f.Close() }, nil
		}
		if !said {
			said = true
			slog.Info("waiting for another process that downloads into this folder", "folder", what)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(lockPoll):
		}
	}
}
