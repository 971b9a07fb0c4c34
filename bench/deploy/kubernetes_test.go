package deploy

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	kedav1alpha1 "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// documents are the objects of a YAML text.
func documents(t *testing.T, where string, text []byte) []any {
	t.Helper()
	var all []any
	for i, part := range bytes.Split(text, []byte("\n---\n")) {
		v, err := decode(part)
		if err != nil {
			t.Errorf("%s, document %d: %v", where, i+1, err)
			continue
		}
		all = append(all, v)
	}
	return all
}

// overlays are the folders that kubectl apply -k takes, built.
func overlays(t *testing.T) map[string][]any {
	t.Helper()
	built := map[string][]any{}
	files, err := filepath.Glob(root + "/kubernetes/*/kustomization.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no overlays: %v", err)
	}
	for _, f := range files {
		name := filepath.Base(filepath.Dir(f))
		m, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Dir(f))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, err := m.AsYaml()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		built[name] = documents(t, name, text)
	}
	return built
}

// TestEveryFileIsOfItsKind decodes the files as they are, patches included.
func TestEveryFileIsOfItsKind(t *testing.T) {
	count := 0
	err := filepath.WalkDir(root+"/kubernetes", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		count++
		text, err := os.ReadFile(path)
		if err == nil && filepath.Ext(path) != ".yaml" {
			err = fmt.Errorf("%s is no YAML file", path)
		}
		documents(t, path, text)
		return err
	})
	if err != nil || count < 10 {
		t.Errorf("%d files, %v", count, err)
	}
}

func TestUnknownFieldsAreFound(t *testing.T) {
	for name, text := range map[string]string{
		"a field of nobody's":       "apiVersion: v1\nkind: Service\nspec: {ports: [{prot: 80}]}",
		"a field in capitals":       "apiVersion: v1\nkind: Service\nspec: {Ports: [{port: 80}]}",
		"a field twice":             "apiVersion: v1\nkind: Service\nspec: {type: ClusterIP, type: NodePort}",
		"a word for a number":       "apiVersion: v1\nkind: Service\nspec: {ports: [{port: http}]}",
		"a predictor's unknown":     "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nspec: {predictor: {replicas: 1}}",
		"a container's unknown":     "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nspec: {predictor: {containers: [{imag: x}]}}",
		"a kind that is not needed": "apiVersion: v1\nkind: Pod",
	} {
		if _, err := decode([]byte(text)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// pod is a template with what stands around it.
type pod struct {
	where       string
	spec        corev1.PodSpec
	labels      map[string]string
	annotations map[string]string
}

// pods are all templates of the built overlays and of the files that belong to
// none.
func pods(t *testing.T) []pod {
	t.Helper()
	all := overlays(t)
	text, err := os.ReadFile(root + "/kubernetes/kserve/storage.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all["kserve/storage.yaml"] = documents(t, "kserve/storage.yaml", text)
	var found []pod
	for where, objects := range all {
		for _, o := range objects {
			switch o := o.(type) {
			case *appsv1.Deployment:
				found = append(found, pod{where, o.Spec.Template.Spec, o.Spec.Template.Labels, o.Spec.Template.Annotations})
				for k, v := range o.Spec.Selector.MatchLabels {
					if o.Spec.Template.Labels[k] != v {
						t.Errorf("%s: the deployment does not select its own pods", where)
					}
				}
			case *inferenceService:
				p := o.Spec.Predictor
				found = append(found, pod{where, p.PodSpec, p.Labels, p.Annotations})
				if p.Containers[0].Name != "kserve-container" || o.Labels["model-id"] == "" {
					t.Errorf("%s: a custom predictor's container is named kserve-container, and the scaler looks for model-id", where)
				}
			}
		}
	}
	if len(found) < 6 {
		t.Fatalf("%d pods", len(found))
	}
	return found
}

// TestPods: what a pod says of the server is true of the real one.
func TestPods(t *testing.T) {
	for _, p := range pods(t) {
		if len(p.spec.Containers) != 1 {
			t.Fatalf("%s: %d containers", p.where, len(p.spec.Containers))
		}
		c := p.spec.Containers[0]
		env := map[string]string{}
		for _, e := range c.Env {
			if env[e.Name] = e.Value; e.ValueFrom != nil {
				env[e.Name] = "4" // stands for a key as for a number of threads
			}
		}
		accepts(t, p.where, env)

		// Ports: the server's, the container's, the probes' and the scraper's.
		port := program.port
		if v, ok := env["PORT"]; ok {
			port, _ = strconv.Atoi(v)
		}
		if len(c.Ports) != 1 || int(c.Ports[0].ContainerPort) != port {
			t.Errorf("%s: the server listens on %d, the container's ports are %v", p.where, port, c.Ports)
		}
		for kind, probe := range map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
			if probe == nil {
				if kind != "startup" {
					t.Errorf("%s: no %s probe", p.where, kind)
				}
				continue
			}
			if at := probe.HTTPGet.Port; at != intstr.FromString(c.Ports[0].Name) && at != intstr.FromInt(port) {
				t.Errorf("%s: the %s probe asks port %v", p.where, kind, at)
			}
			want := "/v2/health/live"
			if kind == "readiness" {
				want = "/v2/health/ready"
			}
			if status, _, err := get(probe.HTTPGet.Path); err != nil || status != 200 || probe.HTTPGet.Path != want {
				t.Errorf("%s: the %s probe asks %s, which answers %d, %v", p.where, kind, probe.HTTPGet.Path, status, err)
			}
		}
		if a := p.annotations; a["prometheus.io/scrape"] != "" && (a["prometheus.io/port"] != strconv.Itoa(port) || a["prometheus.io/path"] != "/metrics") {
			t.Errorf("%s: annotations %v", p.where, a)
		}

		// Grace: the wait before SIGTERM and the drain fit into it.
		grace := time.Duration(*p.spec.TerminationGracePeriodSeconds) * time.Second
		if c.Lifecycle != nil {
			grace -= time.Duration(c.Lifecycle.PreStop.Sleep.Seconds) * time.Second
		}
		if grace <= program.drain {
			t.Errorf("%s: %v are left for a drain of %v", p.where, grace, program.drain)
		}

		// Privileges.
		s, pod := c.SecurityContext, p.spec.SecurityContext
		if !*pod.RunAsNonRoot || *pod.RunAsUser != 65532 || *pod.FSGroup != 65532 || pod.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault ||
			*s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Errorf("%s: privileges %+v %+v", p.where, pod, s)
		}

		// Volumes: each mount has one, /tmp and the models can be written.
		volumes, mounts := map[string]bool{}, map[string]bool{}
		for _, v := range p.spec.Volumes {
			volumes[v.Name] = true
		}
		for _, m := range c.VolumeMounts {
			mounts[m.MountPath] = true
			if !volumes[m.Name] {
				t.Errorf("%s: no volume %s", p.where, m.Name)
			}
		}
		if !mounts["/tmp"] || !mounts["/app/model_files"] && env["MODEL_FILES_PATH"] != "/mnt/models" {
			t.Errorf("%s: mounts %v", p.where, mounts)
		}
	}
}

// TestServicesReachPods: selectors and ports agree within each overlay.
func TestServicesReachPods(t *testing.T) {
	for where, objects := range overlays(t) {
		var template *corev1.PodTemplateSpec
		name := ""
		for _, o := range objects {
			if d, ok := o.(*appsv1.Deployment); ok {
				template, name = &d.Spec.Template, d.Name
			}
		}
		if template == nil {
			continue
		}
		ports := map[string]bool{}
		for _, p := range template.Spec.Containers[0].Ports {
			ports[p.Name] = true
		}
		selects := func(labels map[string]string) bool {
			for k, v := range labels {
				if template.Labels[k] != v {
					return false
				}
			}
			return len(labels) > 0
		}
		for _, o := range objects {
			switch o := o.(type) {
			case *corev1.Service:
				if !selects(o.Spec.Selector) || !ports[o.Spec.Ports[0].TargetPort.StrVal] {
					t.Errorf("%s: the service reaches no pod", where)
				}
			case *podMonitoring:
				e := o.Spec.Endpoints[0]
				port, _ := e.Port.(string)
				if _, err := time.ParseDuration(e.Interval); err != nil || !selects(o.Spec.Selector.MatchLabels) || !ports[port] || e.Path != "/metrics" {
					t.Errorf("%s: the scraper reaches no pod: %+v", where, e)
				}
			case *autoscalingv2.HorizontalPodAutoscaler:
				if r := o.Spec.ScaleTargetRef; r.Name != name || r.Kind != "Deployment" || r.APIVersion != "apps/v1" {
					t.Errorf("%s: the autoscaler scales %v", where, r)
				}
			case *kedav1alpha1.ScaledObject:
				if o.Spec.ScaleTargetRef.Name != name {
					t.Errorf("%s: KEDA scales %v", where, o.Spec.ScaleTargetRef)
				}
			}
		}
	}
}

// TestAutoscalers: they look at the metric that the server has, with the
// target and the bounds of the deployments before this server.
func TestAutoscalers(t *testing.T) {
	const metric = "modelserver_queue_size"
	_, page, err := get("/metrics")
	if err != nil || !bytes.Contains(page, []byte("\n# TYPE "+metric+" gauge\n")) && !bytes.HasPrefix(page, []byte("# TYPE "+metric+" gauge\n")) {
		t.Fatalf("/metrics has no gauge %s: %v", metric, err)
	}
	names := map[string]string{"base": metric, "gpu": metric, "gke": "prometheus.googleapis.com|" + metric + "|gauge"}
	seen := map[string]int{}
	built := overlays(t)
	for _, where := range slices.Sorted(maps.Keys(built)) {
		for _, o := range built[where] {
			switch o := o.(type) {
			case *autoscalingv2.HorizontalPodAutoscaler:
				seen[where]++
				m := o.Spec.Metrics[0].Pods
				if m.Metric.Name != names[where] || m.Target.Type != autoscalingv2.AverageValueMetricType || m.Target.AverageValue.Value() != 5 || *o.Spec.MinReplicas != 1 || o.Spec.MaxReplicas != 5 {
					t.Errorf("%s: %+v", where, o.Spec)
				}
			case *kedav1alpha1.ScaledObject:
				seen[where]++
				trigger := o.Spec.Triggers[0]
				if trigger.Type != "prometheus" || trigger.MetricType != autoscalingv2.AverageValueMetricType || trigger.Metadata["threshold"] != "5" ||
					!strings.HasPrefix(trigger.Metadata["query"], "sum("+metric+"{") || *o.Spec.MinReplicaCount != 1 || *o.Spec.MaxReplicaCount != 5 {
					t.Errorf("%s: %+v", where, o.Spec)
				}
				if err := kedav1alpha1.ValidateTriggers(o.Spec.Triggers); err != nil {
					t.Errorf("%s: %v", where, err)
				}
			}
		}
	}
	if want := map[string]int{"base": 1, "gpu": 1, "gke": 1, "keda": 1}; !maps.Equal(seen, want) {
		t.Errorf("autoscalers: %v", seen)
	}
}

func TestGPUOverlayAsksForOne(t *testing.T) {
	for _, p := range pods(t) {
		_, asked := p.spec.Containers[0].Resources.Limits["nvidia.com/gpu"]
		if asked != (p.where == "gpu") {
			t.Errorf("%s: asks for a GPU: %v", p.where, asked)
		}
	}
}
