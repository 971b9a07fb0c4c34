package http

import "strings"

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
	preflightRoute
)

// routes holds each route's name in metrics and its method; HEAD goes where
// GET does.
var routes = [...]struct{ name, method string }{
	otherRoute:       {"other", ""},
	healthRoute:      {"health", "GET"},
	statusRoute:      {"status", "GET"},
	queueRoute:       {"queue", "GET"},
	modelLoadedRoute: {"model-loaded", "GET"},
	gpuRoute:         {"gpu/status", "GET"},
	metricsRoute:     {"metrics", "GET"},
	modelsRoute:      {"models", "GET"},
	modelRoute:       {"models/{id}", "GET"},
	tokenizeRoute:    {"tokenize", "POST"},
	detokenizeRoute:  {"detokenize", "POST"},
	generateRoute:    {"generate", "POST"},
	embeddingsRoute:  {"embeddings", "POST"},
	chatRoute:        {"chat/completions", "POST"},
	completionsRoute: {"completions", "POST"},
	imagesRoute:      {"images/generations", "POST"},
	preflightRoute:   {"preflight", "OPTIONS"},
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

// prefix is the family of clients that a path belongs to. They differ in how
// errors look and in what counts as a number.
type prefix int

const (
	noPrefix     prefix = iota
	apiPrefix           // /api: clients of the Python server
	openaiPrefix        // /v1 and /openai/v1
)

// target is a path that has been understood.
type target struct {
	route  route
	prefix prefix
	base   string // the prefix as it was written: "", "/api", "/v1", "/openai/v1"
	id     string // of modelRoute
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
		if rest == "/metrics" {
			t.route = metricsRoute
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
