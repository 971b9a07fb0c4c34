package deploy

import (
	"fmt"

	kedav1alpha1 "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kustomize "sigs.k8s.io/kustomize/api/types"

	strict "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// kinds are the types of deploy/ by apiVersion and kind: those of the projects
// themselves, but for two that are written down below because their modules
// are not to be had from every Go proxy.
var kinds = map[metav1.TypeMeta]func() any{
	{APIVersion: "apps/v1", Kind: "Deployment"}:                         func() any { return new(appsv1.Deployment) },
	{APIVersion: "v1", Kind: "Service"}:                                 func() any { return new(corev1.Service) },
	{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler"}:     func() any { return new(autoscalingv2.HorizontalPodAutoscaler) },
	{APIVersion: "keda.sh/v1alpha1", Kind: "ScaledObject"}:              func() any { return new(kedav1alpha1.ScaledObject) },
	{APIVersion: "serving.kserve.io/v1beta1", Kind: "InferenceService"}: func() any { return new(inferenceService) },
	{APIVersion: "monitoring.googleapis.com/v1", Kind: "PodMonitoring"}: func() any { return new(podMonitoring) },
	{APIVersion: kustomize.KustomizationVersion, Kind: "Kustomization"}: func() any { return new(kustomize.Kustomization) },
}

// inferenceService has those fields of KServe's type that a custom predictor
// uses (pkg/apis/serving/v1beta1). A predictor is a PodSpec with the fields of
// a component beside it.
type inferenceService struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Predictor struct {
			corev1.PodSpec       `json:",inline"`
			MinReplicas          *int32                     `json:"minReplicas"`
			MaxReplicas          int32                      `json:"maxReplicas"`
			ScaleTarget          *int32                     `json:"scaleTarget"`
			ContainerConcurrency *int64                     `json:"containerConcurrency"`
			TimeoutSeconds       *int64                     `json:"timeout"`
			Labels               map[string]string          `json:"labels"`
			Annotations          map[string]string          `json:"annotations"`
			DeploymentStrategy   *appsv1.DeploymentStrategy `json:"deploymentStrategy"`
		} `json:"predictor"`
	} `json:"spec"`
}

// podMonitoring has those fields of Google's type that concern what is scraped
// (prometheus-engine, pkg/operator/apis/monitoring/v1).
type podMonitoring struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Selector  metav1.LabelSelector `json:"selector"`
		Endpoints []struct {
			Port     any    `json:"port"` // a number or the name of a container's port
			Path     string `json:"path"`
			Scheme   string `json:"scheme"`
			Interval string `json:"interval"`
			Timeout  string `json:"timeout"`
		} `json:"endpoints"`
	} `json:"spec"`
}

// decode reads one YAML document into the type that it names. An unknown
// field, one in other letters' case and one that is there twice are errors, as
// they are to kubectl apply with strict validation.
func decode(document []byte) (any, error) {
	text, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return nil, err
	}
	var named metav1.TypeMeta
	if err := strict.UnmarshalCaseSensitivePreserveInts(text, &named); err != nil {
		return nil, err
	}
	make, ok := kinds[named]
	if !ok {
		return nil, fmt.Errorf("%s %s is of no known kind", named.APIVersion, named.Kind)
	}
	v := make()
	return v, unmarshal(text, v)
}

func unmarshal(text []byte, v any) error {
	faults, err := strict.UnmarshalStrict(text, v)
	if err == nil && len(faults) > 0 {
		err = fmt.Errorf("%v", faults)
	}
	return err
}
