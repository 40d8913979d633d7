/**
 * Checks deploy/ with the tools of Kubernetes, Helm and Prometheus: kustomize and Helm render, kubeconform compares the
 * objects with the schemas of Kubernetes and CloudNativePG, pod-security/ checks the pods, and promtool checks and tests the
 * alerts. The base and the chart must create the same objects.
 *
 * It needs Go, and installs the tools on each run. Nothing runs on a cluster.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { inTemporaryFolder } from '../conformance/go.mjs';
import { chart, deploy, helm, kustomize, objectsOf } from './render.mjs';
import { installOperatorSchemas, installPrograms, installPromtool, installSchemas } from './tools.mjs';

// The oldest version that the chart allows, and the newest in the schemas.
const kubernetesVersions = ['1.29.0', '1.37.0'];
const digest = `sha256:${'0'.repeat(64)}`;
const variants = [
  ['the base', (bin) => kustomize(bin, 'base')],
  ['the overlay with TLS', (bin) => kustomize(bin, 'overlays/tls')],
  ['the overlay with CloudNativePG', (bin) => kustomize(bin, 'overlays/cloudnative-pg')],
  ['the chart', (bin) => helm(bin)],
  [
    'the chart with other values',
    (bin) =>
      helm(
        bin,
        ...[
          '--set',
          'tls.secretName=roster-tls,tls.requireClientCertificates=true,database.urlKey=uri,autoscaling.enabled=false,podLabels.team=users',
        ],
        ...['--set', `image.digest=${digest},imagePullSecrets[0].name=registry,priorityClassName=high`],
        ...['--set', 'nodeSelector.disk=ssd,tolerations[0].operator=Exists,affinity.podAffinity=null'],
        ...[
          '--set',
          'networkPolicy.extraEgress[0].ports[0].port=4318,networkPolicy.extraIngress[0].from[0].podSelector=',
        ],
        ...['--set', 'access.callers[0].key=billing,access.callers[0].role=bulk,serviceAccount.mountToken=true'],
        ...['--set-json', 'accessFiles={"jwks.json":"{\\"keys\\":[]}"}'],
      ),
  ],
];
const invalidValues = [
  'autoscalling.enabled=false',
  'settings.WORKERS=2',
  'settings.workers=two',
  'settings.AUTH=false',
  'access.caller=x',
  'image.digest=latest',
];

await inTemporaryFolder((work) => {
  installPrograms(work);
  const locations = [installSchemas(work, kubernetesVersions), installOperatorSchemas(work)];
  const schemas = locations.flatMap((pattern) => ['-schema-location', pattern]);

  for (const [title, render] of variants) {
    const yaml = render(work);
    for (const version of kubernetesVersions) {
      const options = ['-strict', '-summary', '-kubernetes-version', version, ...schemas];
      const summary = execFileSync(join(work, 'kubeconform'), options, { input: yaml, encoding: 'utf8' });
      console.log(`${title}, Kubernetes ${version}: ${summary.trim()}`);
    }
    const pods = execFileSync(join(work, 'pod-security'), { input: yaml, encoding: 'utf8' });
    console.log(`${title}: ${pods.trim()}`);
  }

  assert.deepEqual(objectsOf(helm(work)), objectsOf(kustomize(work, 'base')));
  console.log('The chart and the base create the same objects.');

  assert.match(helm(work), /^ {2}ACCESS_FILE: /m);
  assert.doesNotMatch(helm(work, '--set', 'settings.AUTH=off'), /ACCESS_FILE/);

  execFileSync(join(work, 'helm'), ['lint', '--strict', chart], { stdio: 'inherit' });
  for (const values of invalidValues) assert.throws(() => helm(work, '--set', values), /don't meet the specifications/);
  console.log(`The chart refuses ${invalidValues.join(', ')}.`);

  installPromtool(work);
  const prometheus = join(deploy, 'prometheus');
  const promtool = (...args) => execFileSync(join(work, 'promtool'), args, { stdio: 'inherit' });
  promtool('check', 'config', '--lint-fatal', join(prometheus, 'prometheus.yml'));
  promtool('check', 'rules', '--lint=all', '--lint-fatal', join(prometheus, 'alerts.yml'));
  promtool('test', 'rules', join(import.meta.dirname, 'alerts.test.yml'));
  writeFileSync(join(work, 'panels.yml'), panelsAsRules());
  promtool('check', 'rules', join(work, 'panels.yml'));
});

/** promtool reads no dashboards, so each query becomes a rule. */
function panelsAsRules() {
  const { panels } = JSON.parse(readFileSync(join(deploy, 'grafana', 'roster.json'), 'utf8'));
  const queries = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  const rules = queries.map((query, index) => ({
    record: `panel_${index}`,
    expr: query.replaceAll('$__rate_interval', '1m').replaceAll('$job', 'roster').replaceAll('$instance', '.*'),
  }));
  return stringify({ groups: [{ name: 'panels', rules }] });
}
