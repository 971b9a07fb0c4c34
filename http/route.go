package http

import (
	"strings"

	"remote-client-server/http/pages"
)

// route is what a path asks for, whatever its prefix.
type route int

const (
	otherRoute route = iota // no such path
	healthRoute
	statusRoute
	queueRoute
	modelLoadedRoute
	gpuRoute
	metricsRoute
	modelsRoute
	modelRoute
	tokenizeRoute
	detokenizeRoute
	generateRoute
	embeddingsRoute
	chatRoute
	completionsRoute
	imagesRoute
	jobsRoute
	jobRoute
	pageRoute
	v2Route
	liveRoute
	readyRoute
	v2ModelsRoute
	v2ModelRoute
	v2ReadyRoute
	v2InferRoute
	preflightRoute
)

// routes holds each route's name in metrics and its methods; HEAD goes where
// GET does.
var routes = [...]struct {
	name    string
	methods []string
}{
	otherRoute:       {"other", nil},
	healthRoute:      {"health", []string{"GET"}},
	statusRoute:      {"status", []string{"GET"}},
	queueRoute:       {"queue", []string{"GET"}},
	modelLoadedRoute: {"model-loaded", []string{"GET"}},
	gpuRoute:         {"gpu/status", []string{"GET"}},
	metricsRoute:     {"metrics", []string{"GET"}},
	modelsRoute:      {"models", []string{"GET"}},
	modelRoute:       {"models/{id}", []string{"GET"}},
	tokenizeRoute:    {"tokenize", []string{"POST"}},
	detokenizeRoute:  {"detokenize", []string{"POST"}},
	generateRoute:    {"generate", []string{"POST"}},
	embeddingsRoute:  {"embeddings", []string{"POST"}},
	chatRoute:        {"chat/completions", []string{"POST"}},
	completionsRoute: {"completions", []string{"POST"}},
	imagesRoute:      {"images/generations", []string{"POST"}},
	jobsRoute:        {"jobs", []string{"GET"}},
	jobRoute:         {"jobs/{id}", []string{"GET", "DELETE"}},
	pageRoute:        {"page", []string{"GET"}},
	v2Route:          {"v2", []string{"GET"}},
	liveRoute:        {"v2/health/live", []string{"GET"}},
	readyRoute:       {"v2/health/ready", []string{"GET"}},
	v2ModelsRoute:    {"v2/models", []string{"GET"}},
	v2ModelRoute:     {"v2/models/{id}", []string{"GET"}},
	v2ReadyRoute:     {"v2/models/{id}/ready", []string{"GET"}},
	v2InferRoute:     {"v2/models/{id}/infer", []string{"POST"}},
	preflightRoute:   {"preflight", []string{"OPTIONS"}},
}

func (r route) String() string { return routes[r].name }

// Routes lists the names of all routes, as an Observer hears them.
func Routes() []string {
	var names []string
	for _, r := range routes {
		names = append(names, r.name)
	}
	return names
}

// InferenceRoutes lists those that ask the model to compute.
func InferenceRoutes() []string {
	var names []string
	for _, r := range []route{generateRoute, embeddingsRoute, chatRoute, completionsRoute, imagesRoute, v2InferRoute} {
		names = append(names, r.String())
	}
	return names
}

// prefix is the family of clients that a path belongs to. They differ in how
// errors look and in what counts as a number.
type prefix int

const (
	noPrefix     prefix = iota
	apiPrefix           // /api: clients of the Python server
	openaiPrefix        // /v1 and /openai/v1
	v2Prefix            // /v2: the Open Inference Protocol
)

// target is a path that has been understood.
type target struct {
	route  route
	prefix prefix
	base   string // the prefix as it was written: "", "/api", "/v1", "/openai/v1", "/v2"
	id     string // of a model or a job, or a page's own path
}

// find looks up a path. A first segment that is the model's name is passed
// over: an ingress that routes by model may leave it there.
func find(path, model string) target {
	t := lookup(path)
	if t.route == otherRoute && model != "" && len(path) > len(model)+1 && path[len(model)+1] == '/' &&
		strings.EqualFold(path[1:len(model)+1], model) {
		if rest := lookup(path[len(model)+1:]); rest.route != otherRoute {
			return rest
		}
	}
	return t
}

func lookup(path string) target {
	if rest, ok := strings.CutPrefix(path, "/v2"); ok && (rest == "" || rest[0] == '/') {
		return lookupV2(rest)
	}
	var t target
	rest := path
	for _, base := range [...]string{"/api", "/v1", "/openai/v1"} {
		if after, ok := strings.CutPrefix(path, base); ok && (after == "" || after[0] == '/') {
			t.base, rest, t.prefix = base, after, openaiPrefix
			if base == "/api" {
				t.prefix = apiPrefix
			}
			break
		}
	}
	switch rest {
	case "/tokenize":
		t.route = tokenizeRoute
		return t
	case "/detokenize":
		t.route = detokenizeRoute
		return t
	}
	switch t.prefix {
	case noPrefix:
		switch rest {
		case "/metrics":
			t.route = metricsRoute
		case "/health", "/ping":
			t.route = healthRoute
		default:
			if _, ok := pages.Find(rest); ok {
				t.route, t.id = pageRoute, rest
			}
		}
		return t
	case apiPrefix:
		switch rest {
		case "/health":
			t.route = healthRoute
		case "/status":
			t.route = statusRoute
		case "/queue":
			t.route = queueRoute
		case "/model-loaded":
			t.route = modelLoadedRoute
		case "/gpu/status":
			t.route = gpuRoute
		case "/generate":
			t.route = generateRoute
		case "/jobs":
			t.route = jobsRoute
		default:
			if id, ok := strings.CutPrefix(rest, "/jobs/"); ok && id != "" && !strings.Contains(id, "/") {
				t.route, t.id = jobRoute, id
			}
		}
	}
	switch rest {
	case "/embeddings":
		t.route = embeddingsRoute
	case "/chat/completions":
		t.route = chatRoute
	case "/completions":
		t.route = completionsRoute
	case "/images/generations":
		t.route = imagesRoute
	case "/models":
		t.route = modelsRoute
	default:
		if id, ok := strings.CutPrefix(rest, "/models/"); ok && id != "" && !strings.HasSuffix(id, "/") {
			t.route, t.id = modelRoute, id
		}
	}
	return t
}
