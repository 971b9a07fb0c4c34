package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// flags are the command line as it was written: every value is a word, checked
// later and all together (see config), because kong stops at the first fault.
// A flag wins over the environment, and that over the default named in the
// help.
type flags struct {
	Host string `name:"host" env:"HOST" group:"Server" placeholder:"ADDRESS" help:"Address to listen on (0.0.0.0)."`
	Port string `name:"port" aliases:"http_port" env:"PORT" group:"Server" placeholder:"N" help:"Port to listen on; 0 takes a free one (8888)."`

	Model       string `name:"model" aliases:"model_name" env:"MODEL,MODEL_NAME" group:"Model" placeholder:"NAME" help:"Short name of the model; its folder has that name in lower case. Without any model the built-in one is served."`
	ModelRepoID string `name:"model_repo_id" env:"MODEL_REPO_ID" group:"Model" placeholder:"OWNER/NAME" help:"Repository of the model."`
	ModelID     string `name:"model_id" env:"MODEL_ID" group:"Model" hidden:"" help:"Repository of the model if it holds a slash, else the engine's id."`
	ModelType   string `name:"model_type" env:"MODEL_TYPE" group:"Model" placeholder:"TYPE" help:"text, ner, embed, vision-embed, vision or image."`
	ModelFiles  string `name:"model_files" env:"MODEL_FILES_PATH" group:"Model" placeholder:"DIR" help:"Folder of the model, or the folder that holds it (/app/model_files)."`
	LocalFiles  toggle `name:"local_files" env:"LOCAL_FILES" group:"Model" help:"Look for the model in ./model_files."`
	Revision    string `name:"revision" env:"REVISION" group:"Download" placeholder:"REV" help:"Branch, tag or commit of the repository (main)."`
	Variant     string `name:"variant" env:"VARIANT" group:"Download" placeholder:"NAME" help:"Variant of the weights, as fp16, where the repository has one."`
	Update      toggle `name:"update" env:"UPDATE" group:"Download" help:"Ask the Hub for changes although the files are complete."`
	Verify      toggle `name:"verify" env:"VERIFY" group:"Download" help:"Hash every file again."`
	HubWorkers  string `name:"hub_workers" env:"HUB_WORKERS" group:"Download" placeholder:"N" help:"Connections of a download (8)."`

	Pooling string `name:"pooling" group:"Model" placeholder:"WAY" help:"cls, mean, max, mean_sqrt_len_tokens, weightedmean or lasttoken (as the repository says)."`
	DType   string `name:"dtype" env:"DTYPE" group:"Model" placeholder:"TYPE" help:"auto, float32, bfloat16, float16, q8 or q4 (auto)."`

	MaxModelLen   string `name:"max_model_len" env:"MAX_MODEL_LEN" group:"Model" placeholder:"N" help:"Longest context of a language model, in tokens (as the model declares)."`
	MaxSequences  string `name:"max_sequences" env:"MAX_SEQUENCES" group:"Model" placeholder:"N" help:"Answers that a language model writes at once (32)."`
	KVCacheMemory string `name:"kv_cache_memory" env:"KV_CACHE_MEMORY" group:"Model" placeholder:"SIZE" help:"Memory for keys and values (by what is free)."`

	ModelDevice    string `name:"model_device" env:"MODEL_DEVICE" group:"Device" placeholder:"DEVICE" help:"auto, cpu, cuda or cuda:N (auto)."`
	RequireDevice  toggle `name:"require_device" env:"REQUIRE_DEVICE" group:"Device" help:"End instead of falling back to the CPU; with auto, a GPU is required."`
	Threads        string `name:"threads" env:"THREADS" group:"Device" placeholder:"N" help:"Threads that compute (all cores)."`
	GEMM           string `name:"gemm" env:"GEMM" group:"Device" placeholder:"WHOSE" help:"Matrix products on a GPU: own kernels, cublaslt, or auto, the faster one; other than own only with --batch_invariant=false (auto)."`
	BatchInvariant toggle `name:"batch_invariant" env:"BATCH_INVARIANT" group:"Device" help:"Results do not depend on what they are batched with (true)."`

	JobTimeout   string `name:"job_timeout" env:"JOB_TIMEOUT" group:"Limits" placeholder:"TIME" help:"Longest processing of a job, in seconds or like 5m (300)."`
	QueueSize    string `name:"queue_size" env:"QUEUE_SIZE" group:"Limits" placeholder:"N" help:"Most jobs that wait (512)."`
	QueueTokens  string `name:"queue_tokens" env:"QUEUE_TOKENS" group:"Limits" placeholder:"N" help:"Most tokens that wait; a job with more is taken only when none waits (4194304)."`
	MaxBody      string `name:"max_body" env:"MAX_BODY" group:"Limits" placeholder:"SIZE" help:"Largest body of a request (64MiB)."`
	MaxInputs    string `name:"max_inputs" env:"MAX_INPUTS" group:"Limits" placeholder:"N" help:"Most inputs of an embeddings request (2048)."`
	FailGrace    string `name:"fail_grace" env:"FAIL_GRACE" group:"Limits" placeholder:"TIME" help:"How long a failed start keeps answering before the end (30)."`
	DrainTimeout string `name:"drain_timeout" env:"DRAIN_TIMEOUT" group:"Limits" placeholder:"TIME" help:"How long jobs may finish after SIGTERM (30)."`
	StrictFields toggle `name:"strict_fields" env:"STRICT_FIELDS" group:"Limits" help:"Refuse requests with unknown fields instead of warning."`

	APIKey            []string `name:"api_key" env:"API_KEY" group:"Security" placeholder:"KEY" help:"Key that clients must send; may be repeated."`
	APIKeyFile        string   `name:"api_key_file" env:"API_KEY_FILE" group:"Security" placeholder:"FILE" help:"File with one key a line."`
	MediaAllowCIDRs   []string `name:"media_allow_cidrs" env:"MEDIA_ALLOW_CIDRS" group:"Security" placeholder:"RANGE" help:"Address ranges that image URLs may name although they are private."`
	MediaAllowDomains []string `name:"media_allow_domains" env:"MEDIA_ALLOW_DOMAINS" group:"Security" placeholder:"DOMAIN" help:"The only hosts that image URLs may name."`
	NoMediaURLs       toggle   `name:"no_media_urls" env:"NO_MEDIA_URLS" group:"Security" help:"Refuse image URLs."`

	SemossID      string `name:"semoss_id" env:"SEMOSS_ID" group:"Scaler" placeholder:"ID" help:"Engine id, part of the Redis key (N/A)."`
	NoRedis       toggle `name:"no_redis" env:"NO_REDIS" group:"Scaler" help:"Write nothing to Redis."`
	RedisURL      string `name:"redis_url" env:"REDIS_URL" group:"Scaler" placeholder:"URL" help:"Redis as redis://user:password@host:port or rediss://...; wins over host and port."`
	RedisUsername string `name:"redis_username" env:"REDIS_USERNAME" group:"Scaler" placeholder:"NAME" help:"User of Redis."`
	RedisPassword string `name:"redis_password" env:"REDIS_PASSWORD" group:"Scaler" placeholder:"WORD" help:"Password of Redis."`
	RedisHost     string `name:"redis_host" env:"REDIS_HOST" group:"Scaler" placeholder:"HOST" help:"Host of Redis (redis.semoss.svc.cluster.local)."`
	RedisPort     string `name:"redis_port" env:"REDIS_PORT" group:"Scaler" placeholder:"N" help:"Port of Redis (6379)."`

	LogFormat     string `name:"log_format" env:"LOG_FORMAT" group:"Log" placeholder:"FORMAT" help:"auto, text or json (auto: text on a terminal)."`
	LogLevel      string `name:"log_level" env:"LOG_LEVEL" group:"Log" placeholder:"LEVEL" help:"debug (a line for each request), info, warn or error (info)."`
	MetricsCompat toggle `name:"metrics_compat" env:"METRICS_COMPAT" group:"Log" help:"Repeat metrics under the names of text-embeddings-inference, for a language model under those of vLLM."`

	Version kong.VersionFlag `name:"version" help:"Print the version and end."`

	Serve          struct{} `cmd:"" default:"1" help:"Serve a model; the default."`
	Demo           struct{} `cmd:"" help:"Serve on a free port, ask a question, print the answer and end."`
	Download       struct{} `cmd:"" help:"Fetch the model's files and end."`
	Check          struct{} `cmd:"" help:"Load the model without serving it, compute once, report and end."`
	Bench          struct{} `cmd:"" help:"Measure how fast the model computes here and end."`
	Health         struct{} `cmd:"" help:"Ask the server on this machine whether it can answer, and end with 0 or 1."`
	VersionCommand struct{} `cmd:"" name:"version" help:"Print the version and end."`
	Completion     struct{} `cmd:"" help:"Print a script that completes commands and flags: completion bash, zsh or fish."`
}

// toggle is a flag that may stand alone: the word behind "=" or of the
// environment, or "true".
type toggle string

func (t *toggle) Decode(ctx *kong.DecodeContext) error {
	*t = "true"
	if ctx.Scan.Peek().Type == kong.FlagValueToken {
		*t = toggle(fmt.Sprint(ctx.Scan.Pop().Value))
	}
	return nil
}

// IsBool tells kong that no value need follow.
func (*toggle) IsBool() bool { return true }

// version is set by the linker for a release.
var version = "dev"

// build describes this binary.
func build() string {
	v := version
	if info, ok := debug.ReadBuildInfo(); ok && v == "dev" {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v += "+" + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return fmt.Sprintf("remote-client-server %s %s %s/%s", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// commands are the words that may stand before the flags; shells those behind
// completion.
var (
	commands = []string{"serve", "demo", "download", "check", "bench", "health", "version", "completion"}
	shells   = []string{"bash", "zsh", "fish"}
)

// line is a command line that has been read.
type line struct {
	flags
	command string
	shell   string // of the command completion
	model   *kong.Application
	given   map[string]bool // names of the flags on the command line
	faults  []string
}

// ended is the panic by which kong leaves after --help and --version.
type ended int

// readLine reads the arguments and the environment. An empty variable counts
// as unset. The line is nil after --help or --version, which have then been
// printed.
func readLine(args []string, stdout, stderr io.Writer) (l *line, err error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case ended:
			l, err = nil, nil
		default:
			panic(v)
		}
	}()
	l = &line{given: map[string]bool{}}
	k, err := kong.New(&l.flags,
		kong.Name("remote-client-server"),
		kong.Description("Serves one model over HTTP."),
		kong.Vars{"version": build()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(ended(code)) }))
	if err != nil {
		return nil, err
	}
	known := map[string]*kong.Flag{}
	for _, f := range k.Model.Flags {
		for _, name := range append(f.Aliases, f.Name) {
			known[name] = f
		}
		for _, env := range f.Envs {
			if v, ok := os.LookupEnv(env); ok && strings.TrimSpace(v) == "" {
				if v != "" && strings.HasPrefix(f.Name, "api_key") { // a secret that got lost on its way
					l.faults = append(l.faults, fmt.Sprintf("%s: holds nothing but blanks, and the server would be open", env))
				}
				os.Unsetenv(env)
			}
		}
	}
	l.model = k.Model
	args = l.tidy(args, known)
	ctx, err := k.Parse(args)
	if err != nil {
		l.faults = append(l.faults, err.Error())
		return l, nil
	}
	l.command = ctx.Command()
	return l, nil
}

// tidy returns args with every flag in its one spelling (--model-type becomes
// --model_type=...), without those that are at fault, which it notes: kong
// would stop at the first.
func (l *line) tidy(args []string, known map[string]*kong.Flag) []string {
	var out []string
	command := ""
	for i := 0; i < len(args); i++ {
		arg := args[i]
		next := func() (string, bool) { // the value behind a flag
			if i+1 == len(args) || strings.HasPrefix(args[i+1], "--") {
				return "", false
			}
			i++
			return args[i], true
		}
		written, isFlag := strings.CutPrefix(arg, "--")
		switch {
		case arg == "-h":
			out = append(out, arg)
			continue
		case !isFlag || written == "":
			switch {
			case command == "" && slices.Contains(commands, arg):
				command = arg
				out = append(out, arg)
			case command == "completion" && slices.Contains(shells, arg) && l.shell == "":
				l.shell = arg
			default:
				l.faults = append(l.faults, fmt.Sprintf("unexpected argument %q", arg))
			}
			continue
		}
		name, value, hasValue := strings.Cut(written, "=")
		f, ok := known[strings.ReplaceAll(name, "-", "_")]
		if !ok {
			l.faults = append(l.faults, fmt.Sprintf("unknown flag --%s", name))
			// The word behind it belongs to it, unless that is a command.
			if !hasValue && i+1 < len(args) && !slices.Contains(commands, args[i+1]) {
				next()
			}
			continue
		}
		l.given[f.Name] = true
		if !hasValue && !f.IsBool() {
			if value, hasValue = next(); !hasValue {
				l.faults = append(l.faults, fmt.Sprintf("--%s: the value is missing", f.Name))
				continue
			}
		}
		arg = "--" + f.Name
		if hasValue {
			arg += "=" + value
		}
		out = append(out, arg)
	}
	return out
}
