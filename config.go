package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"remote-client-server/models/embed"
	"remote-client-server/models/hub"
	"remote-client-server/status"
)

// config is what the flags and the environment come to.
type config struct {
	host string
	port int

	name      string // of the model, as clients see it
	repoID    string // or ""
	kind      string // of the model: embed, ...
	builtin   bool   // the model is the one in this binary
	dir       string // of the model, unless built in
	kernels   string // folder of what GPU drivers compile; "" is the user's cache
	commit    string // of the repository, once that is known
	pooling   string // or "": as the repository says
	dtype     string // auto or a full name
	device    string // auto, cpu, cuda, cuda:N, or emu:... where that is built
	require   bool   // the device, that is
	invariant bool   // results do not depend on what they are batched with
	gemm      string // whose matrix products a GPU runs: auto, own or cublaslt
	threads   int    // 0: all cores

	maxModelLen int   // tokens of a context; 0: as the model declares
	sequences   int   // at once; 0: the usual number
	cacheBytes  int64 // of keys and values; 0: by what is free

	jobTimeout   time.Duration
	queueSize    int
	queueTokens  int
	maxBody      int
	maxInputs    int
	failGrace    time.Duration
	drainTimeout time.Duration
	strict       bool

	revision string // of the repository, or ""
	variant  string // of the weights, or ""
	update   bool   // ask the Hub although the files are complete
	verify   bool   // hash them again
	workers  int    // connections of a download; 0: as many as the Hub's client takes
	hub      hub.Settings

	keys      []string             // API keys
	redis     *status.RedisOptions // nil: write nothing
	compat    bool                 // metrics under other servers' names too
	logFormat string               // auto, text or json
	logLevel  slog.Level

	notes []string // what was understood otherwise than written
}

// kinds are the model types of the contract.
var kinds = []string{"text", "ner", "embed", "vision-embed", "vision", "image"}

var dtypes = map[string]string{
	"auto": "auto", "float32": "float32", "f32": "float32", "bfloat16": "bfloat16", "bf16": "bfloat16",
	"float16": "float16", "f16": "float16", "q8": "q8", "q4": "q4",
}

var levels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// maxThreads is the most that the CPU backend takes.
const maxThreads = 1024

// modelFiles is where images of the deployments keep their models.
const modelFiles = "/app/model_files"

// config checks every value; the faults name their flags.
func (l *line) config() (*config, []string) {
	r := &checker{line: l, faults: l.faults}
	c := &config{
		host:         r.host(or(l.Host, "0.0.0.0")),
		port:         r.int("port", l.Port, 8888, 0, 65535),
		dtype:        dtypes[r.oneOf("dtype", or(l.DType, "auto"), keys(dtypes))],
		device:       r.device(l.ModelDevice),
		require:      r.toggle("require_device", l.RequireDevice, false),
		threads:      r.int("threads", l.Threads, 0, 0, maxThreads),
		maxModelLen:  r.int("max_model_len", l.MaxModelLen, 0, 1, 1<<24),
		sequences:    r.int("max_sequences", l.MaxSequences, 0, 1, 1024),
		cacheBytes:   r.memory("kv_cache_memory", l.KVCacheMemory),
		jobTimeout:   r.time("job_timeout", l.JobTimeout, 300*time.Second),
		queueSize:    r.int("queue_size", l.QueueSize, 512, 1, 1<<20),
		queueTokens:  r.int("queue_tokens", l.QueueTokens, 4<<20, 1, 1<<31-1),
		maxBody:      r.size("max_body", l.MaxBody, 64<<20),
		maxInputs:    r.int("max_inputs", l.MaxInputs, 2048, 1, 1<<20),
		failGrace:    r.time("fail_grace", l.FailGrace, 30*time.Second),
		drainTimeout: r.time("drain_timeout", l.DrainTimeout, 30*time.Second),
		strict:       r.toggle("strict_fields", l.StrictFields, false),
		revision:     strings.TrimSpace(l.Revision),
		variant:      strings.TrimSpace(l.Variant),
		update:       r.toggle("update", l.Update, false),
		verify:       r.toggle("verify", l.Verify, false),
		workers:      r.int("hub_workers", l.HubWorkers, 0, 1, 64),
		keys:         r.keys(),
		compat:       r.toggle("metrics_compat", l.MetricsCompat, false),
		logFormat:    r.oneOf("log_format", or(l.LogFormat, "auto"), []string{"auto", "text", "json"}),
		logLevel:     levels[r.oneOf("log_level", or(l.LogLevel, "info"), keys(levels))],
	}
	var err error
	if c.hub, err = hub.FromEnv(os.LookupEnv); err != nil {
		r.faults = append(r.faults, err.Error())
	}
	c.hub.UserAgent = "remote-client-server/" + version
	if p := strings.TrimSpace(l.Pooling); p != "" {
		c.pooling = r.oneOf("pooling", p, embed.Poolings())
	}
	c.invariant = r.toggle("batch_invariant", l.BatchInvariant, true)
	c.gemm = r.oneOf("gemm", or(l.GEMM, "auto"), []string{"auto", "own", "cublaslt"})
	if c.gemm == "cublaslt" && c.invariant {
		r.note("--gemm=cublaslt has no effect with --batch_invariant, which is on: the library chooses its kernels by the number of rows")
	}
	r.toggle("no_media_urls", l.NoMediaURLs, false)
	for _, s := range l.MediaAllowCIDRs {
		if _, err := netip.ParsePrefix(s); err != nil {
			r.fault("media_allow_cidrs", "%q is no address range like 10.0.0.0/8", s)
		}
	}
	for _, s := range l.MediaAllowDomains {
		if !domain.MatchString(s) {
			r.fault("media_allow_domains", "%q is no host name", s)
		}
	}
	r.model(c)
	r.redis(c)
	c.notes = r.notes
	return c, r.faults
}

// checker collects faults.
type checker struct {
	*line
	faults []string
	notes  []string
}

func (r *checker) fault(flag, format string, args ...any) {
	r.faults = append(r.faults, "--"+flag+": "+fmt.Sprintf(format, args...))
}

func (r *checker) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

func or(s, def string) string {
	if s = strings.TrimSpace(s); s == "" {
		return def
	}
	return s
}

func keys[V any](m map[string]V) []string {
	var k []string
	for s := range m {
		k = append(k, s)
	}
	slices.Sort(k)
	return k
}

func (r *checker) oneOf(flag, value string, allowed []string) string {
	v := strings.ToLower(value)
	if !slices.Contains(allowed, v) {
		r.fault(flag, "%q is none of %s", value, strings.Join(allowed, ", "))
	}
	return v
}

func (r *checker) int(flag, value string, def, lo, hi int) int {
	if value = strings.TrimSpace(value); value == "" {
		return def
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < lo || n > hi {
		r.fault(flag, "%q is no whole number from %d to %d", value, lo, hi)
	}
	return n
}

// time reads seconds or a duration in Go's notation.
func (r *checker) time(flag, value string, def time.Duration) time.Duration {
	if value = strings.TrimSpace(value); value == "" {
		return def
	}
	const most = 7 * 24 * time.Hour
	d, err := time.ParseDuration(value)
	if err != nil {
		var s float64
		if s, err = strconv.ParseFloat(value, 64); err == nil && s >= 0 && s <= most.Seconds() {
			d = time.Duration(s * float64(time.Second))
		} else {
			d = -1
		}
	}
	if d < 0 || d > most {
		r.fault(flag, "%q is no time like 300, 300s or 5m", value)
	}
	return d
}

var units = map[string]int{"": 1, "b": 1, "k": 1 << 10, "kb": 1e3, "kib": 1 << 10, "m": 1 << 20, "mb": 1e6, "mib": 1 << 20, "g": 1 << 30, "gb": 1e9, "gib": 1 << 30}

// size reads bytes, with or without a unit.
func (r *checker) size(flag, value string, def int) int {
	if value = strings.TrimSpace(value); value == "" {
		return def
	}
	v := strings.ToLower(value)
	digits := strings.TrimRight(v, "abcdefghijklmnopqrstuvwxyz ")
	n, err := strconv.Atoi(digits)
	unit, ok := units[strings.TrimSpace(v[len(digits):])]
	if err != nil || !ok || n < 1 || n > (1<<30)/unit {
		r.fault(flag, "%q is no size from 1 byte to 1GiB, like 64MiB", value)
		return def
	}
	return n * unit
}

// memory reads bytes, with or without a unit, up to more than any machine has.
func (r *checker) memory(flag, value string) int64 {
	if value = strings.TrimSpace(value); value == "" {
		return 0
	}
	v := strings.ToLower(value)
	digits := strings.TrimRight(v, "abcdefghijklmnopqrstuvwxyz ")
	n, err := strconv.ParseInt(digits, 10, 64)
	unit, ok := units[strings.TrimSpace(v[len(digits):])]
	if err != nil || !ok || n < 1 || n > (1<<50)/int64(unit) {
		r.fault(flag, "%q is no size like 8GiB", value)
		return 0
	}
	return n * int64(unit)
}

// toggle reads a word that says yes or no. In the environment any other word
// means no, as clients of the Python server expect; on the command line it is
// a fault.
func (r *checker) toggle(flag string, value toggle, def bool) bool {
	switch strings.ToLower(strings.TrimSpace(string(value))) {
	case "":
		return def
	case "true", "1", "yes", "on":
		return true
	case "false", "0", "no", "off":
		return false
	}
	if r.given[flag] {
		r.fault(flag, "%q is neither true nor false", string(value))
	} else {
		r.note("%s=%s counts as false", strings.ToUpper(flag), value)
	}
	return false
}

func (r *checker) host(value string) string {
	h := strings.TrimSuffix(strings.TrimPrefix(value, "["), "]")
	if net.ParseIP(h) == nil && !domain.MatchString(h) {
		r.fault("host", "%q is no address", value)
	}
	return h
}

var (
	domain  = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})$`)
	devices = regexp.MustCompile(`^(cpu|cuda|cuda:\d{1,3}` + emulatedDevices + `)$`)
	repo    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}$`)
	name    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
)

// device takes nonsense for auto, as the Python server does.
func (r *checker) device(value string) string {
	v := strings.ToLower(or(value, "auto"))
	if v == "auto" || devices.MatchString(v) {
		return v
	}
	if r.toggle("require_device", r.line.RequireDevice, false) {
		r.fault("model_device", "%q is required, and no device has that name", value)
	} else {
		r.note("the device %q is unknown and counts as auto", value)
	}
	return "auto"
}

// model settles which model is meant and where its folder is.
func (r *checker) model(c *config) {
	c.kind = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(r.ModelType)), "_", "-")
	if c.kind != "" && !slices.Contains(kinds, c.kind) {
		r.fault("model_type", "%q is none of %s", r.ModelType, strings.Join(kinds, ", "))
	}
	c.repoID = strings.TrimSpace(r.ModelRepoID)
	if id := strings.TrimSpace(r.ModelID); c.repoID == "" && strings.Contains(id, "/") {
		c.repoID = id
	}
	if c.repoID != "" && (!repo.MatchString(c.repoID) || hub.CheckRepo(c.repoID) != nil) {
		r.fault("model_repo_id", "%q is no repository like owner/name", c.repoID)
	}
	files := strings.TrimSpace(r.ModelFiles)
	local := r.toggle("local_files", r.LocalFiles, false)
	own := files != "" && holdsModel(files)
	c.name = strings.TrimSpace(r.Model)
	if c.name == "" && c.repoID != "" {
		_, base, _ := strings.Cut(c.repoID, "/")
		c.name = strings.ToLower(base)
	}
	if c.name == "" && own {
		if abs, err := filepath.Abs(files); err == nil {
			c.name = filepath.Base(abs)
		}
	}
	switch {
	case c.name == "" && files != "":
		r.fault("model_files", "%s holds no config.json, and without --model no folder in it is named", files)
		return
	case c.name == "":
		c.builtin = true
		c.kind = or(c.kind, "embed")
		c.name = "builtin-" + c.kind
		return
	case !name.MatchString(c.name):
		r.fault("model", "%q is no name of letters, digits, dots, dashes and underscores", c.name)
	case c.kind == "":
		r.fault("model_type", "is required with a model: one of %s", strings.Join(kinds, ", "))
	}
	switch {
	case own:
		c.dir = files
	case files != "":
		c.dir = folder(files, c.name)
	case local:
		c.dir = folder("model_files", c.name)
	default:
		c.dir = folder(modelFiles, c.name)
	}
	if abs, err := filepath.Abs(c.dir); err == nil {
		c.dir = abs
	}
	if !own { // beside the models, in the folder that is ours
		c.kernels = filepath.Join(filepath.Dir(c.dir), ".kernels")
	}
}

// folder is where a model's folder is: under its name in lower case, or under
// the name as it is written if only that is there.
func folder(parent, name string) string {
	lower, exact := filepath.Join(parent, strings.ToLower(name)), filepath.Join(parent, name)
	if _, err := os.Stat(lower); err != nil {
		if info, err := os.Stat(exact); err == nil && info.IsDir() {
			return exact
		}
	}
	return lower
}

// holdsModel says whether dir is a model's own folder.
func holdsModel(dir string) bool {
	for _, f := range []string{"config.json", "gliner_config.json", "model_index.json"} {
		if info, err := os.Stat(filepath.Join(dir, f)); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}

// redis settles whether there is a deployment to keep up to date.
func (r *checker) redis(c *config) {
	host := or(r.RedisHost, "redis.semoss.svc.cluster.local")
	// Kubernetes sets REDIS_PORT=tcp://10.0.0.1:6379 beside a service "redis".
	word := r.RedisPort
	if strings.HasPrefix(word, "tcp://") {
		word = word[strings.LastIndexByte(word, ':')+1:]
	}
	port := r.int("redis_port", word, 6379, 1, 65535)
	off := r.toggle("no_redis", r.NoRedis, false)
	id := or(r.SemossID, "N/A")
	if model := strings.TrimSpace(r.ModelID); id == "N/A" && model != "" && !strings.Contains(model, "/") {
		id = model
	}
	address := strings.TrimSpace(r.RedisURL)
	if u, err := url.Parse(address); address != "" && (err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Host == "") {
		r.fault("redis_url", "is no address like redis://host:6379") // it may hold a password: not shown
	}
	if id != "N/A" && !off {
		c.redis = &status.RedisOptions{
			Address: net.JoinHostPort(host, strconv.Itoa(port)), URL: address,
			Username: strings.TrimSpace(r.RedisUsername), Password: r.RedisPassword, ID: id,
		}
	}
}

// keys are the API keys of the flag, its variable and the file.
func (r *checker) keys() []string {
	var list []string
	add := func(flag, key string) {
		if key == "" || len(key) > maxKey || strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c > '~' }) {
			r.fault(flag, "a key is 1 to %d printable ASCII characters", maxKey) // not shown
			return
		}
		list = append(list, key)
	}
	for _, key := range r.APIKey {
		add("api_key", strings.TrimSpace(key))
	}
	file := strings.TrimSpace(r.APIKeyFile)
	if file == "" {
		return list
	}
	info, err := os.Stat(file)
	switch {
	case err != nil:
		r.fault("api_key_file", "%v", err)
		return list
	case !info.Mode().IsRegular() || info.Size() > maxKeyFile:
		r.fault("api_key_file", "%s is no file of at most %d bytes", file, maxKeyFile)
		return list
	}
	text, err := os.ReadFile(file)
	if err != nil {
		r.fault("api_key_file", "%v", err)
		return list
	}
	before := len(list)
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			add("api_key_file", line)
		}
	}
	if len(list) == before {
		r.fault("api_key_file", "%s holds no key", file)
	}
	return list
}

// Bounds of API keys, in bytes.
const (
	maxKey     = 4096
	maxKeyFile = 1 << 20
)
