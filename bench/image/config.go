package main

import (
	"fmt"
	"time"

	spec "github.com/opencontainers/image-spec/specs-go/v1"
)

// cachePath is where files from the Hub lie that belong to no one model, as
// the Python server's image has it.
const cachePath = "/" + modelPath + "/.cache"

// runConfig is how the image is run. The Dockerfile says the same, which a
// test compares.
func runConfig(o options, packages string) spec.ImageConfig {
	return spec.ImageConfig{
		User:         fmt.Sprintf("%d:%[1]d", user),
		ExposedPorts: map[string]struct{}{"8888/tcp": {}},
		Env: []string{
			"PATH=/usr/local/bin:/usr/bin:/bin",
			"HOST=0.0.0.0",
			"PORT=8888",
			"HF_HOME=" + cachePath,
			"HUGGINGFACE_HUB_CACHE=" + cachePath,
			"TRANSFORMERS_CACHE=" + cachePath,
			"NVIDIA_VISIBLE_DEVICES=all",
			"NVIDIA_DRIVER_CAPABILITIES=compute,utility",
		},
		Entrypoint: []string{"/" + binaryPath},
		Volumes:    map[string]struct{}{"/" + modelPath: {}},
		WorkingDir: "/app",
		StopSignal: "SIGTERM",
		Labels: map[string]string{
			spec.AnnotationTitle:            repository,
			spec.AnnotationDescription:      "Serves one model over HTTP",
			spec.AnnotationVersion:          o.version,
			spec.AnnotationCreated:          o.epoch.Format(time.RFC3339),
			"remote-client-server.packages": packages,
		},
	}
}
