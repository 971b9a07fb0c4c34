package deploy

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"sigs.k8s.io/yaml"
)

// project loads compose files as docker compose does, with its schema.
func project(t *testing.T, files ...string) *types.Project {
	t.Helper()
	for i := range files {
		files[i] = filepath.Join(root, files[i])
	}
	o, err := cli.NewProjectOptions(files, cli.WithProfiles([]string{"monitoring"}), cli.WithEnv([]string{"PATH=/bin"}))
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCompose(t *testing.T) {
	for name, files := range map[string][]string{"without a GPU": {"compose.yaml"}, "with a GPU": {"compose.yaml", "compose.gpu.yaml"}} {
		p := project(t, files...)
		s := p.Services["server"]
		env := map[string]string{}
		for k, v := range s.Environment {
			if v == nil {
				t.Errorf("%s: %s has no value", name, k)
				continue
			}
			env[k] = *v
		}
		accepts(t, name, env)
		if _, ok := p.Services[env["REDIS_HOST"]]; !ok {
			t.Errorf("%s: no service is called %q", name, env["REDIS_HOST"])
		}
		if grace := time.Duration(*s.StopGracePeriod); grace <= program.drain {
			t.Errorf("%s: %v for a drain of %v", name, grace, program.drain)
		}
		if len(s.Ports) != 1 || int(s.Ports[0].Target) != program.port || s.Ports[0].HostIP != "127.0.0.1" {
			t.Errorf("%s: ports %+v", name, s.Ports)
		}
		if !s.ReadOnly || len(s.CapDrop) != 1 || s.CapDrop[0] != "ALL" {
			t.Errorf("%s: privileges", name)
		}
		gpus := 0
		if s.Deploy != nil && s.Deploy.Resources.Reservations != nil {
			for _, d := range s.Deploy.Resources.Reservations.Devices {
				gpus += int(d.Count)
			}
		}
		if want := len(files) - 1; gpus != want {
			t.Errorf("%s: %d GPUs", name, gpus)
		}
		if _, err := os.Stat(filepath.Join(s.Build.Context, "Dockerfile")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for service, s := range p.Services {
			for _, v := range s.Volumes {
				if _, err := os.Stat(v.Source); v.Type == types.VolumeTypeBind && err != nil {
					t.Errorf("%s: %s: %v", name, service, err)
				}
			}
		}
	}
}

// TestMonitoring: Prometheus scrapes the server's port and Grafana looks where
// compose puts its files.
func TestMonitoring(t *testing.T) {
	p := project(t, "compose.yaml")
	t.Run("configuration", func(t *testing.T) {
		tool, err := exec.LookPath("promtool")
		if err != nil {
			lacks(t, "no promtool: Prometheus' configuration is not checked")
		}
		if out, err := exec.Command(tool, "check", "config", root+"/monitoring/prometheus.yaml").CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	var prometheus struct {
		ScrapeConfigs []struct {
			StaticConfigs []struct {
				Targets []string `json:"targets"`
			} `json:"static_configs"`
		} `json:"scrape_configs"`
	}
	load(t, "monitoring/prometheus.yaml", &prometheus)
	host, port, _ := strings.Cut(prometheus.ScrapeConfigs[0].StaticConfigs[0].Targets[0], ":")
	if _, ok := p.Services[host]; !ok || port != "8888" || program.port != 8888 {
		t.Errorf("Prometheus scrapes %s:%s", host, port)
	}
	var sources struct {
		Datasources []struct{ Type, URL string }
	}
	load(t, "monitoring/datasources.yaml", &sources)
	if s := sources.Datasources[0]; s.Type != "prometheus" || s.URL != "http://prometheus:9090" || p.Services["prometheus"].Name == "" {
		t.Errorf("Grafana reads %+v", s)
	}
	var boards struct {
		Providers []struct {
			Type    string
			Options struct{ Path string }
		}
	}
	load(t, "monitoring/dashboards.yaml", &boards)
	found := false
	for _, v := range p.Services["grafana"].Volumes {
		found = found || filepath.Dir(v.Target) == boards.Providers[0].Options.Path
	}
	if !found {
		t.Errorf("no dashboard lies in %s", boards.Providers[0].Options.Path)
	}
}

func load(t *testing.T, name string, v any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err == nil {
		err = yaml.Unmarshal(text, v)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// unit reads the settings of a systemd unit or environment file; a setting
// that is there several times keeps all its values.
func unit(t *testing.T, name string) map[string][]string {
	t.Helper()
	f, err := os.Open(filepath.Join(root, "systemd", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	settings := map[string][]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if key, value, ok := strings.Cut(line, "="); ok && line[0] != '#' {
			settings[key] = append(settings[key], value)
		}
	}
	return settings
}

func TestSystemd(t *testing.T) {
	u := unit(t, "remote-client-server.service")
	env := map[string]string{}
	for _, line := range u["Environment"] {
		for word := range strings.FieldsSeq(line) {
			key, value, _ := strings.Cut(word, "=")
			env[key] = strings.NewReplacer("%S", "/var/lib", "%C", "/var/cache").Replace(value)
		}
	}
	for key, values := range unit(t, "server.env") {
		env[key] = values[0]
	}
	accepts(t, "systemd", env)
	drain, err := time.ParseDuration(env["DRAIN_TIMEOUT"])
	if err != nil || drain != program.drain {
		t.Errorf("server.env says another drain than the default: %v, %v", drain, err)
	}
	if stop, err := time.ParseDuration(u["TimeoutStopSec"][0] + "s"); err != nil || stop <= drain {
		t.Errorf("TimeoutStopSec=%v for a drain of %v", stop, drain)
	}
	if u["RestartPreventExitStatus"][0] != "2" || u["Restart"][0] != "on-failure" || u["DynamicUser"][0] != "yes" {
		t.Error("restarts after wrong flags, or does not restart, or has a lasting user")
	}

	// What a wrong variable really ends with.
	wrong := command()
	wrong.Env = append(wrong.Env, "MODEL_TYPE=nonsense")
	if wrong.Run(); wrong.ProcessState.ExitCode() != 2 {
		t.Errorf("a wrong variable ends with %d", wrong.ProcessState.ExitCode())
	}

	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("no systemd-analyze: the unit is not verified")
		return
	}
	text, err := os.ReadFile(root + "/systemd/remote-client-server.service")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "remote-client-server.service")
	text = []byte(strings.Replace(string(text), "ExecStart=/usr/local/bin/remote-client-server", "ExecStart="+program.binary, 1))
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool, "verify", path).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
