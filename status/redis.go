package status

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	_ "time/tzdata" // New York's rules, where the machine has none

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// RedisOptions name the deployment's entry.
type RedisOptions struct {
	Address            string // host:port
	Username, Password string // "": none
	URL                string // redis:// or rediss://; wins over the three above
	ID                 string // engine id: the entry is the hash "<ID>:deployment"
	Logger             *slog.Logger
}

// Redis keeps the deployment's entry up to date: how many generations there
// were and when the last one was. The entry belongs to the scaler, which made
// it; a missing one is never created.
//
// Generations are counted in memory and one goroutine tells Redis, in one
// command for as many as have come since the one before. So nothing is lost
// while Redis is away or refuses: the count waits until it can be added. What
// Redis has no entry for is counted nowhere: an entry that is made later is
// another deployment's. A command whose answer did not come in time may have been
// carried out and is repeated all the same, so its count may be added twice.
//
// A host that cannot be resolved is as good as no Redis: nothing is written
// and the log says so once. It is looked up again with each try, no more often
// than every half minute in the long run, because in a cluster a name may come
// after the server.
type Redis struct {
	client atomic.Pointer[redis.Client] // replaced after a failure of the network
	opt    redis.Options
	log    *slog.Logger
	key    string
	zone   *time.Location
	pace   pace

	pending atomic.Int64 // generations that Redis has not been told
	last    atomic.Int64 // the latest success, in Unix nanoseconds
	up      atomic.Bool
	wake    chan struct{} // capacity 1: pending has grown

	once    sync.Once
	closing chan struct{}
	done    chan struct{}
	ctx     context.Context // of all commands
	cancel  context.CancelFunc

	// Of the goroutine only.
	trouble string    // the kind of the last failure that was logged; "": none since it worked
	logged  time.Time // when a failure was logged last
}

// RedisState is how things stand with Redis.
type RedisState struct {
	Up      bool  // it took the last command
	Pending int64 // generations that it has not been told
}

// pace is how patient a Redis is.
type pace struct {
	timeout    time.Duration // of a command, its connection included
	retry      time.Duration // before the first repetition; doubled for each further one
	retryLimit time.Duration
	logEvery   time.Duration // between two lines about failures
}

var calm = pace{timeout: 5 * time.Second, retry: 250 * time.Millisecond, retryLimit: 30 * time.Second, logEvery: time.Minute}

// update adds a count to the entry's generations and sets the time of the last
// one, if the entry exists. The sum comes first: if it fails nothing is changed.
var update = redis.NewScript(`
if redis.call("EXISTS", KEYS[1]) == 0 then return 0 end
redis.call("HINCRBY", KEYS[1], "generations", ARGV[1])
redis.call("HSET", KEYS[1], "last_request", ARGV[2])
return 1`)

// lastRequest is ISO 8601 with microseconds and offset.
const lastRequest = "2006-01-02T15:04:05.000000-07:00"

// errNoEntry is the trouble of an entry that does not exist. It is none of
// Redis.
var errNoEntry = errors.New("redis: the deployment has no entry")

// NewRedis starts to keep an entry up to date. An error is one of the options;
// whether Redis is there shows later, in the log and in State.
func NewRedis(o RedisOptions) (*Redis, error) { return newRedis(o, calm) }

func newRedis(o RedisOptions, p pace) (*Redis, error) {
	if o.ID == "" {
		return nil, errors.New("redis: the engine id is empty")
	}
	opt, err := o.client()
	if err != nil {
		return nil, err
	}
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	opt.Protocol = 2
	opt.DisableIdentity = true
	opt.ContextTimeoutEnabled = true
	opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout = p.timeout, p.timeout, p.timeout
	opt.DialerRetries = 1
	opt.MaxRetries = -1 // the goroutine repeats, with more patience
	opt.MinIdleConns, opt.MaxActiveConns = 0, 1
	opt.PoolSize = 2  // one failure is not enough to make it dial by itself, see connect
	logging.Disable() // a line for each try
	r := &Redis{
		opt:     *opt,
		log:     o.Logger,
		key:     o.ID + ":deployment",
		zone:    zone,
		pace:    p,
		wake:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
	}
	if r.log == nil {
		r.log = slog.Default()
	}
	r.connect()
	r.ctx, r.cancel = context.WithCancel(context.Background())
	go r.work()
	return r, nil
}

// connect prepares for a connection, which the next command makes. After a
// failure of the network it starts from nothing, because a pool that has failed
// to dial as often as it may hold connections dials every second by itself.
func (r *Redis) connect() {
	opt := r.opt // the client changes its options
	if old := r.client.Swap(redis.NewClient(&opt)); old != nil {
		_ = old.Close()
	}
}

// client is where and as whom to connect. Errors do not repeat a URL, which
// may hold a password.
func (o *RedisOptions) client() (*redis.Options, error) {
	if o.URL == "" {
		if _, port, err := net.SplitHostPort(o.Address); err != nil || port == "" {
			return nil, fmt.Errorf("redis: address %q: not host:port", o.Address)
		}
		return &redis.Options{Network: "tcp", Addr: o.Address, Username: o.Username, Password: o.Password}, nil
	}
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Host == "" {
		return nil, errors.New("redis: the URL is not like redis://user:password@host:port/0 or rediss://…")
	}
	opt, err := redis.ParseURL(o.URL)
	if err != nil {
		return nil, errors.New("redis: the URL's database or options cannot be understood")
	}
	return opt, nil
}

// Generation counts one success. It never waits, and is safe for concurrent
// use and on a nil Redis.
func (r *Redis) Generation() {
	if r == nil {
		return
	}
	// The time comes first: whoever reads the count then finds a time that is
	// no older than what it counts.
	for now := time.Now().UnixNano(); ; {
		last := r.last.Load()
		if now <= last || r.last.CompareAndSwap(last, now) {
			break
		}
	}
	r.pending.Add(1)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// State says how things stand.
func (r *Redis) State() RedisState {
	return RedisState{Up: r.up.Load(), Pending: r.pending.Load()}
}

// Close tells Redis what is left, until ctx ends, and disconnects. The error
// says how many generations it was not told. Generation must not be called any
// more.
func (r *Redis) Close(ctx context.Context) error {
	if r == nil {
		return nil
	}
	r.once.Do(func() { close(r.closing) })
	if r.pending.Load() > 0 {
		select {
		case <-r.done:
		case <-ctx.Done():
		}
	}
	r.cancel()
	_ = r.client.Load().Close() // ends a command that still waits; nothing else can fail
	if n := r.pending.Load(); n > 0 {
		return fmt.Errorf("redis: %d generations were not written", n)
	}
	return nil
}

// work tells Redis what has come until Close has nothing left to wait for.
func (r *Redis) work() {
	defer close(r.done)
	defer func() { _ = r.client.Load().Close() }()
	for !r.safely() {
		if !r.sleep(r.pace.retryLimit) {
			return
		}
	}
}

// safely is deliver; it reports whether that has ended by itself.
func (r *Redis) safely() (ended bool) {
	defer func() {
		if v := recover(); v != nil {
			r.up.Store(false)
			r.log.Error("panic", "in", "redis", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	r.deliver()
	return true
}

func (r *Redis) deliver() {
	retry := r.pace.retry
	err := r.try(r.ping) // for State and the log
	for {
		if err == nil || errors.Is(err, errNoEntry) {
			retry = r.pace.retry
			if !r.await() {
				return
			}
		} else {
			if !r.sleep(retry) {
				return
			}
			retry = min(2*retry, r.pace.retryLimit)
			if r.closed() {
				retry = r.pace.retry // there is no later
			}
		}
		err = r.try(r.tell)
	}
}

// await waits until there is something to tell. It returns false when there
// will not be.
func (r *Redis) await() bool {
	for r.pending.Load() == 0 {
		select {
		case <-r.wake:
		case <-r.closing:
			return r.pending.Load() > 0
		}
	}
	return true
}

// sleep waits for d, or less on the way out: until Close is called, or, if it
// was, until its patience ends. It returns false when there is nothing left to
// do.
func (r *Redis) sleep(d time.Duration) bool {
	closing := r.closing
	if r.closed() {
		if r.pending.Load() == 0 {
			return false
		}
		closing = nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-closing:
		return r.pending.Load() > 0
	case <-r.ctx.Done():
		return false
	}
	return true
}

func (r *Redis) closed() bool {
	select {
	case <-r.closing:
		return true
	default:
		return false
	}
}

// try runs a command within its time and notes how it went.
func (r *Redis) try(command func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(r.ctx, r.pace.timeout)
	defer cancel()
	err := command(ctx)
	r.up.Store(err == nil || errors.Is(err, errNoEntry))
	r.note(err)
	if refusal := redis.Error(nil); err != nil && !errors.As(err, &refusal) && !errors.Is(err, errNoEntry) {
		r.connect()
	}
	return err
}

func (r *Redis) ping(ctx context.Context) error { return r.client.Load().Ping(ctx).Err() }

// tell adds what is pending to the entry.
func (r *Redis) tell(ctx context.Context) error {
	n := r.pending.Load()
	if n == 0 { // nothing but the first contact was due
		return r.ping(ctx)
	}
	at := time.Unix(0, r.last.Load()).In(r.zone).Format(lastRequest)
	found, err := update.Run(ctx, r.client.Load(), []string{r.key}, n, at).Int()
	if err != nil {
		return err
	}
	r.pending.Add(-n)
	if found == 0 {
		return errNoEntry
	}
	return nil
}

// note logs a failure, unless one was logged a moment ago, and its end. What
// may be meant so, no entry and no such host, is logged once.
func (r *Redis) note(err error) {
	if err == nil {
		if r.trouble != "" {
			r.log.Info("the deployment's entry in Redis is written again", "was", r.trouble)
			r.trouble = ""
		}
		return
	}
	if r.ctx.Err() != nil || !r.logged.IsZero() && time.Since(r.logged) < r.pace.logEvery {
		return
	}
	kind := kindOf(err)
	if kind == r.trouble && (kind == noEntry || kind == noHost) {
		return
	}
	r.trouble, r.logged = kind, time.Now()
	r.log.Warn("the deployment's entry in Redis is not written", "kind", r.trouble, "pending", r.pending.Load())
}

const (
	noEntry = "no entry"
	noHost  = "host not found"
)

// kindOf is the kind of a failure: Redis' own word for it or what the network
// did. Texts of errors may hold addresses and scripts.
func kindOf(err error) string {
	var dns *net.DNSError
	var timeout net.Error
	var refusal redis.Error
	switch {
	case errors.Is(err, errNoEntry):
		return noEntry
	case errors.As(err, &dns):
		return noHost
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.As(err, &refusal):
		word, _, _ := strings.Cut(refusal.Error(), " ")
		if word != "" && strings.Trim(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" {
			return word
		}
		return "refused"
	}
	return "no connection"
}
