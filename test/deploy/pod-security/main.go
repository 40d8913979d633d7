// Reads objects of Kubernetes as YAML, and exits with 1 if a pod breaks the restricted Pod Security Standard, by the code that
// the API server runs.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

func main() {
	pods, err := readPods(os.Stdin)
	if err == nil {
		err = check(pods)
	}
	if err == nil && len(pods) == 0 {
		err = errors.New("no pods")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%d kinds of pods follow the restricted Pod Security Standard.\n", len(pods))
}

func check(pods []corev1.PodTemplateSpec) error {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		return err
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for _, pod := range pods {
		result := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec))
		if !result.Allowed {
			return fmt.Errorf("%s: %s", pod.Spec.Containers[0].Name, result.ForbiddenDetail())
		}
	}
	return nil
}

// The pods of Deployments and Jobs. Decoding is strict, so an unknown field is an error.
func readPods(input io.Reader) (pods []corev1.PodTemplateSpec, err error) {
	for reader := yaml.NewYAMLReader(bufio.NewReader(input)); ; {
		text, err := reader.Read()
		if err == io.EOF {
			return pods, nil
		}
		if err != nil {
			return nil, err
		}
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(text, &kind); err != nil {
			return nil, err
		}
		switch kind.Kind {
		case "Deployment":
			var deployment appsv1.Deployment
			if err := yaml.UnmarshalStrict(text, &deployment); err != nil {
				return nil, err
			}
			pods = append(pods, deployment.Spec.Template)
		case "Job":
			var job batchv1.Job
			if err := yaml.UnmarshalStrict(text, &job); err != nil {
				return nil, err
			}
			pods = append(pods, job.Spec.Template)
		}
	}
}
