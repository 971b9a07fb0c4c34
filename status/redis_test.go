//go:build unix

package status

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	testID  = "4acbe913-df40-4ac0-b28a-daa5ad91b172"
	testKey = testID + ":deployment"
)

// hasty is a pace for tests; failures are logged once.
var hasty = pace{timeout: 10 * time.Second, retry: 5 * time.Millisecond, retryLimit: 20 * time.Millisecond, logEvery: time.Hour}

// redisServer is a real redis-server on a port of its own.
type redisServer struct {
	t       *testing.T
	address string
	dir     string // of its data, which outlive it
	cmd     *exec.Cmd
	client  *redis.Client
}

// newRedisServer finds a port; the server is not started yet.
func newRedisServer(t *testing.T) *redisServer {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no redis-server: run .ci/tools")
		}
		t.Skip("there is no redis-server on this machine")
	}
	s := &redisServer{t: t, address: freePort(t), dir: t.TempDir()}
	s.client = redis.NewClient(&redis.Options{Addr: s.address, DialTimeout: time.Second})
	t.Cleanup(func() {
		s.kill()
		s.client.Close()
	})
	return s
}

// freePort finds a port below those that connections get: who dials one of
// those, with nobody there, may be connected to himself.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(12_000+rand.IntN(20_000)))
		if ln, err := net.Listen("tcp", address); err == nil {
			ln.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

func (s *redisServer) start(args ...string) *redisServer {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.address)
	s.cmd = exec.Command("redis-server", append([]string{
		"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--dir", s.dir}, args...)...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "redis-server answers", func() bool {
		c, err := net.Dial("tcp", s.address)
		if err != nil {
			return false
		}
		defer c.Close()
		answer := make([]byte, 1)
		_, _ = c.Write([]byte("PING\r\n"))
		_, err = c.Read(answer)
		return err == nil && (answer[0] == '+' || answer[0] == '-')
	})
	return s
}

// kill ends the server in the middle of what it does.
func (s *redisServer) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGCONT)
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

func (s *redisServer) do(args ...any) {
	s.t.Helper()
	if err := s.client.Do(s.t.Context(), args...).Err(); err != nil && err != redis.Nil {
		s.t.Fatal(args, err)
	}
}

// entry makes the hash as the scaler does.
func (s *redisServer) entry() {
	s.t.Helper()
	s.do("HSET", testKey, "model_name", "nomic", "semoss_id", testID, "address", "10.0.0.5:80",
		"start_time", "2025-01-17T09:43:04.588880-05:00", "last_request", "", "generations", "0", "shutdown_lock", "true")
}

func (s *redisServer) field(name string) string {
	s.t.Helper()
	v, err := s.client.HGet(context.Background(), testKey, name).Result()
	if err != nil && err != redis.Nil {
		s.t.Fatal(err)
	}
	return v
}

// told waits until the entry counts n generations, neither less nor more.
func (s *redisServer) told(r *Redis, n int) {
	s.t.Helper()
	eventually(s.t, "nothing is pending", func() bool { return r.State() == RedisState{Up: true} })
	if got := s.field("generations"); got != strconv.Itoa(n) {
		s.t.Errorf("generations %s, want %d", got, n)
	}
}

// eventually waits until something is so; what never is ends the test.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: still not so", what)
		}
	}
}

// record is a log that a test reads.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *record) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// lines are the log's lines without their times.
func (l *record) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for line := range strings.Lines(l.b.String()) {
		_, line, _ = strings.Cut(strings.TrimSpace(line), " ")
		lines = append(lines, line)
	}
	return lines
}

func openRedis(t *testing.T, o RedisOptions) (*Redis, *record) {
	t.Helper()
	return openRedisAt(t, o, hasty)
}

func openRedisAt(t *testing.T, o RedisOptions, p pace) (*Redis, *record) {
	t.Helper()
	log := &record{}
	o.ID, o.Logger = testID, slog.New(slog.NewTextHandler(log, nil))
	r, err := newRedis(o, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = r.Close(ctx)
	})
	return r, log
}

// some is how many generations an outage sees: far more than a queue between
// them and Redis would hold.
const some = 20_000

// generate counts successes from several goroutines. That it returns while
// Redis is away is the point: no call waits.
func generate(r *Redis, n int) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range n / 8 {
				r.Generation()
			}
		})
	}
	wg.Wait()
}

func away(t *testing.T, r *Redis, n int64) {
	t.Helper()
	if got := r.State().Pending; got != n {
		t.Errorf("%d generations are pending, want %d", got, n)
	}
}

// oneOutage checks that a failure of a kind and its end were logged, once each.
func oneOutage(t *testing.T, log *record, kind string) {
	t.Helper()
	var lines []string
	eventually(t, "the outage's end is logged", func() bool {
		lines = log.lines()
		return len(lines) >= 2
	})
	if len(lines) != 2 || !strings.Contains(lines[0], "kind="+kind) || !strings.Contains(lines[1], "written again") {
		t.Errorf("log:\n%s", strings.Join(lines, "\n"))
	}
}

func TestRedisUpdatesTheEntry(t *testing.T) {
	s := newRedisServer(t).start()
	s.entry()
	s.do("EXPIRE", testKey, 1000)
	r, log := openRedis(t, RedisOptions{Address: s.address})
	eventually(t, "Redis is up", func() bool { return r.State().Up })
	before := time.Now()
	r.Generation()
	s.told(r, 1)
	stamp := s.field("last_request")
	if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}-0[45]:00$`).MatchString(stamp) {
		t.Errorf("last_request %q", stamp)
	}
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil || at.Before(before.Truncate(time.Microsecond)) || at.After(time.Now()) {
		t.Errorf("last_request %q is not when it was (%v)", stamp, err)
	}
	generate(r, 800)
	s.told(r, 801)
	ctx := t.Context()
	if ttl := s.client.TTL(ctx, testKey).Val(); ttl < 900*time.Second || ttl > 1000*time.Second {
		t.Errorf("the time to live is now %v", ttl)
	}
	all := s.client.HGetAll(ctx, testKey).Val()
	delete(all, "last_request")
	delete(all, "generations")
	if len(all) != 5 || all["shutdown_lock"] != "true" || all["start_time"] != "2025-01-17T09:43:04.588880-05:00" || all["address"] != "10.0.0.5:80" {
		t.Errorf("other fields were touched: %v", all)
	}
	if n := s.client.DBSize(ctx).Val(); n != 1 {
		t.Errorf("%d keys", n)
	}
	if l := log.lines(); len(l) > 0 {
		t.Error(l)
	}
}

func TestNewYorksSummerAndWinter(t *testing.T) {
	r, _ := openRedis(t, RedisOptions{Address: "127.0.0.1:1"})
	for utc, want := range map[string]string{
		"2025-01-17T14:43:04.58888Z": "2025-01-17T09:43:04.588880-05:00",
		"2025-07-01T00:00:00Z":       "2025-06-30T20:00:00.000000-04:00",
		"2026-03-08T06:59:59.5Z":     "2026-03-08T01:59:59.500000-05:00",
		"2026-03-08T07:00:00Z":       "2026-03-08T03:00:00.000000-04:00",
	} {
		at, err := time.Parse(time.RFC3339Nano, utc)
		if err != nil {
			t.Fatal(err)
		}
		if got := at.In(r.zone).Format(lastRequest); got != want {
			t.Errorf("%s: %s, want %s", utc, got, want)
		}
	}
}

func TestFault51_AbsentAtStart(t *testing.T) {
	s := newRedisServer(t).start()
	s.entry()
	s.kill()
	r, log := openRedis(t, RedisOptions{Address: s.address})
	eventually(t, "the absence is noticed", func() bool { return len(log.lines()) > 0 })
	before := time.Now()
	generate(r, some)
	after := time.Now()
	away(t, r, some)
	if r.State().Up {
		t.Error("it is up")
	}
	s.start()
	s.told(r, some)
	oneOutage(t, log, `"no connection"`)
	at, err := time.Parse(time.RFC3339Nano, s.field("last_request"))
	if err != nil || at.Before(before.Truncate(time.Microsecond)) || at.After(after) {
		t.Error("last_request is not the time of the last success but of its delivery")
	}
}

func TestFault51_HostNotFound(t *testing.T) {
	r, log := openRedis(t, RedisOptions{Address: "redis.invalid:6379"})
	eventually(t, "the failure is noticed", func() bool { return len(log.lines()) > 0 })
	r.pace.logEvery = 0 // not even then twice
	generate(r, some)
	time.Sleep(10 * hasty.retryLimit)
	away(t, r, some)
	if l := log.lines(); len(l) != 1 || strings.Contains(l[0], "redis.invalid") {
		t.Errorf("log: %q", l)
	}
}

func TestFault51_DiesLater(t *testing.T) {
	s := newRedisServer(t).start()
	s.entry()
	r, log := openRedis(t, RedisOptions{Address: s.address})
	generate(r, 80)
	s.told(r, 80)
	s.kill()
	generate(r, some)
	away(t, r, some)
	eventually(t, "the death is noticed", func() bool { return !r.State().Up })
	s.start()
	s.told(r, 80+some)
	oneOutage(t, log, `"no connection"`)
}

// A stopped server takes what it is sent and answers when it goes on: the one
// command that was under way is then carried out and repeated.
func TestFault51_Slow(t *testing.T) {
	s := newRedisServer(t).start()
	s.entry()
	short := hasty
	short.timeout = 300 * time.Millisecond
	r, log := openRedisAt(t, RedisOptions{Address: s.address}, short)
	generate(r, 80)
	s.told(r, 80)
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	r.Generation()
	eventually(t, "the stop is noticed", func() bool { return !r.State().Up })
	generate(r, some)
	away(t, r, some+1)
	if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing is pending", func() bool { return r.State() == RedisState{Up: true} })
	if got := s.field("generations"); got != strconv.Itoa(80+1+some) && got != strconv.Itoa(80+1+some+1) {
		t.Errorf("generations %s, want %d or, with the repeated one, one more", got, 80+1+some)
	}
	oneOutage(t, log, "timeout")
}

func TestFault51_ReadOnlyReplica(t *testing.T) {
	s := newRedisServer(t).start()
	s.entry()
	s.do("REPLICAOF", "127.0.0.1", "1")
	r, log := openRedis(t, RedisOptions{Address: s.address})
	generate(r, some)
	eventually(t, "the refusal is noticed", func() bool { return len(log.lines()) > 0 })
	away(t, r, some)
	s.do("REPLICAOF", "NO", "ONE")
	s.told(r, some)
	oneOutage(t, log, "READONLY")
}

func TestFault51_WrongType(t *testing.T) {
	s := newRedisServer(t).start()
	s.do("SET", testKey, "text")
	r, log := openRedis(t, RedisOptions{Address: s.address})
	generate(r, some)
	eventually(t, "the refusal is noticed", func() bool { return len(log.lines()) > 0 })
	away(t, r, some)
	if v := s.client.Get(t.Context(), testKey).Val(); v != "text" {
		t.Errorf("the key is now %q", v)
	}
	s.do("EVAL", `redis.call("DEL", KEYS[1]) redis.call("HSET", KEYS[1], "generations", "0")`, 1, testKey)
	s.told(r, some)
	oneOutage(t, log, "WRONGTYPE")
}

func TestFault51_GenerationsNoNumber(t *testing.T) {
	s := newRedisServer(t).start()
	s.entry()
	s.do("HSET", testKey, "generations", "many")
	r, log := openRedis(t, RedisOptions{Address: s.address})
	generate(r, some)
	eventually(t, "the refusal is noticed", func() bool { return len(log.lines()) > 0 })
	away(t, r, some)
	if at := s.field("last_request"); at != "" {
		t.Error("half an update was made")
	}
	s.do("HSET", testKey, "generations", "5")
	s.told(r, some+5)
	oneOutage(t, log, "ERR")
}

func TestFault51_AuthNeeded(t *testing.T) {
	s := newRedisServer(t).start()
	s.entry()
	s.do("CONFIG", "SET", "requirepass", "s3cret")
	r, log := openRedis(t, RedisOptions{Address: s.address})
	generate(r, some)
	eventually(t, "the refusal is noticed", func() bool { return len(log.lines()) > 0 })
	away(t, r, some)
	known := redis.NewClient(&redis.Options{Addr: s.address, Password: "s3cret"})
	defer known.Close()
	if err := known.ConfigSet(t.Context(), "requirepass", "").Err(); err != nil {
		t.Fatal(err)
	}
	s.told(r, some)
	oneOutage(t, log, "NOAUTH")
}

func TestFault51_KeyMissing(t *testing.T) {
	s := newRedisServer(t).start()
	r, log := openRedis(t, RedisOptions{Address: s.address})
	generate(r, some)
	eventually(t, "the lack is noticed", func() bool { return len(log.lines()) > 0 })
	eventually(t, "it is counted nowhere", func() bool { return r.State() == RedisState{Up: true} })
	if n := s.client.DBSize(t.Context()).Val(); n != 0 {
		t.Error("the entry was created")
	}
	s.entry() // of another deployment: what was before is none of its
	generate(r, 80)
	s.told(r, 80)
	oneOutage(t, log, `"no entry"`)
	s.do("DEL", testKey) // evicted
	generate(r, some)
	eventually(t, "it is counted nowhere again", func() bool { return r.State() == RedisState{Up: true} })
	if n := s.client.DBSize(t.Context()).Val(); n != 0 {
		t.Error("the entry was created again")
	}
}

func TestFault52_TwoServersOfOneEngine(t *testing.T) {
	s := newRedisServer(t).start()
	s.entry()
	a, _ := openRedis(t, RedisOptions{Address: s.address})
	b, _ := openRedis(t, RedisOptions{Address: s.address})
	var wg sync.WaitGroup
	wg.Go(func() { generate(a, some) })
	wg.Go(func() { generate(b, some) })
	wg.Wait()
	eventually(t, "nothing is pending", func() bool { return b.State().Pending == 0 })
	s.told(a, 2*some)
}

func TestRedisPasswordsAndURLs(t *testing.T) {
	s := newRedisServer(t).start("--requirepass", "p@ss", "--user", "rcs", "on", ">word", "~*", "+@all")
	admin := redis.NewClient(&redis.Options{Addr: s.address, Password: "p@ss"})
	defer admin.Close()
	for name, o := range map[string]RedisOptions{
		"password":              {Address: s.address, Password: "p@ss"},
		"user and password":     {Address: s.address, Username: "rcs", Password: "word"},
		"URL":                   {Address: "redis.invalid:1", URL: "redis://:p%40ss@" + s.address},
		"URL with user and 0":   {URL: "redis://rcs:word@" + s.address + "/0"},
		"URL with own timeouts": {URL: "redis://:p%40ss@" + s.address + "?pool_size=20&max_retries=9"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := admin.HSet(t.Context(), testKey, "generations", 0).Err(); err != nil {
				t.Fatal(err)
			}
			r, _ := openRedis(t, o)
			generate(r, 80)
			eventually(t, "nothing is pending", func() bool { return r.State() == RedisState{Up: true} })
			if got := admin.HGet(t.Context(), testKey, "generations").Val(); got != "80" {
				t.Errorf("generations %s", got)
			}
			if o := r.client.Load().Options(); o.MaxActiveConns != 1 || o.MaxRetries != 0 {
				t.Errorf("%d connections, %d retries", o.MaxActiveConns, o.MaxRetries)
			}
		})
	}
	for name, o := range map[string]RedisOptions{
		"no id":       {Address: "redis:6379"},
		"no port":     {Address: "redis", ID: "e"},
		"other URL":   {URL: "http://:secret@redis", ID: "e"},
		"broken URL":  {URL: "redis://:secret@red is%zz", ID: "e"},
		"URL's base":  {URL: "redis://:secret@redis/zero", ID: "e"},
		"URL's query": {URL: "redis://:secret@redis?secret=secret", ID: "e"},
		"no host":     {URL: "redis:secret", ID: "e"},
	} {
		if r, err := NewRedis(o); err == nil || r != nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the password: %v", name, err)
		}
	}
}

func TestRedisCloseDelivers(t *testing.T) {
	s := newRedisServer(t).start()
	s.entry()
	r, _ := openRedis(t, RedisOptions{Address: s.address})
	generate(r, some)
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if got := s.field("generations"); got != strconv.Itoa(some) {
		t.Errorf("generations %s", got)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Error("closed twice:", err)
	}
}

func TestRedisCloseWaitsForRedisAndGivesUp(t *testing.T) {
	s := newRedisServer(t).start()
	s.entry()
	s.kill()
	r, _ := openRedis(t, RedisOptions{Address: s.address})
	generate(r, some)
	closed := make(chan error)
	go func() { closed <- r.Close(context.Background()) }()
	s.start()
	if err := <-closed; err != nil {
		t.Error("it came back in time:", err)
	}
	if got := s.field("generations"); got != strconv.Itoa(some) {
		t.Errorf("generations %s", got)
	}
	s.kill()

	r, _ = openRedis(t, RedisOptions{Address: s.address})
	generate(r, 80)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.Close(ctx); err == nil || err.Error() != "redis: 80 generations were not written" {
		t.Error(err)
	}
	<-r.done // and the goroutine ends

	var none *Redis
	none.Generation()
	if err := none.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestGenerationAllocatesNothing(t *testing.T) {
	r, _ := openRedis(t, RedisOptions{Address: "127.0.0.1:1"})
	if n := testing.AllocsPerRun(1000, r.Generation); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkGeneration(b *testing.B) {
	r, err := newRedis(RedisOptions{Address: "127.0.0.1:1", ID: testID, Logger: slog.New(slog.DiscardHandler)}, hasty)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = r.Close(ctx)
	}()
	b.ReportAllocs()
	for b.Loop() {
		r.Generation()
	}
}
