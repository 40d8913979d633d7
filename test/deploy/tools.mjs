/** Installs the tools that check deploy/: programs in Go, promtool from Debian, and Kubernetes' schemas from a Python package. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { installGo, installWith } from '../conformance/go.mjs';

/** Installs the programs into `bin`. Go compiles them once, which takes some minutes, and keeps the result in its cache. */
export function installPrograms(bin) {
  installGo(bin, 'sigs.k8s.io/kustomize/kustomize/v5', 'v5.8.1', ['.']);
  installGo(bin, 'helm.sh/helm/v3', 'v3.22.0', ['cmd/helm']);
  installGo(bin, 'github.com/yannh/kubeconform', 'v0.8.0', ['cmd/kubeconform']);
  const options = { cwd: join(import.meta.dirname, 'pod-security') };
  installWith('go', ['mod', 'download'], options);
  execFileSync('go', ['build', '-o', join(bin, 'pod-security'), '.'], {
    ...options,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/**
 * Unpacks promtool from Debian's package, without installing it. Go's module proxy has it, too, but compiling it takes ten
 * times as long as the rest of the check.
 */
export function installPromtool(bin) {
  const run = (program, ...args) => installWith(program, args, { cwd: bin });
  run('apt-get', 'update', '-qq');
  run('apt-get', 'download', '-qq', 'prometheus');
  const [name] = readdirSync(bin).filter((file) => /^prometheus_.*\.deb$/.test(file));
  run('dpkg', '-x', name, join(bin, 'debian'));
  copyFileSync(join(bin, 'debian', 'usr', 'bin', 'promtool'), join(bin, 'promtool'));
}

/** Kubernetes' JSON schemas, from a Python package that contains them. Returns kubeconform's pattern for the files. */
export function installSchemas(folder, versions) {
  const python = (...args) => installWith('python3', args, { cwd: folder });
  python('-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', folder, 'kubernetes-validate==1.37.0');
  const schemas = join(folder, 'kubernetes_validate', 'kubernetes-json-schema');
  const folders = versions.map((version) => join(schemas, `v${version}-local-strict`));
  // The package has the schemas of many versions, so this extracts only some.
  const extract = `
import sys, zipfile
wheel = zipfile.ZipFile("kubernetes_validate-1.37.0-py3-none-any.whl")
wheel.extractall(members=[name for name in wheel.namelist() if any(f"v{v}-local-strict/" in name for v in sys.argv[1:])])`;
  python('-c', extract, ...versions);
  for (const one of folders) useRelativeReferences(one);
  return join(schemas, '{{.NormalizedKubernetesVersion}}-local-strict', '{{.ResourceKind}}{{.KindSuffix}}.json');
}

/** The files have identifiers and references that only the Python package resolves. */
function useRelativeReferences(folder) {
  for (const name of readdirSync(folder)) {
    const file = join(folder, name);
    const { $id, ...schema } = JSON.parse(readFileSync(file, 'utf8'));
    writeFileSync(file, JSON.stringify(schema).replaceAll('"/api/_definitions.json#', '"_definitions.json#'));
  }
}

/**
 * JSON schemas of CloudNativePG's kinds, from the definitions in the operator's source. Returns kubeconform's pattern for the
 * files. The definitions also contain rules in CEL, which only a cluster checks.
 */
export function installOperatorSchemas(folder) {
  const module = 'github.com/cloudnative-pg/cloudnative-pg@v1.30.0';
  const source = JSON.parse(installWith('go', ['mod', 'download', '-json', module], { cwd: folder })).Dir;
  for (const name of ['clusters', 'poolers']) {
    const file = join(source, 'config', 'crd', 'bases', `postgresql.cnpg.io_${name}.yaml`);
    const { names, versions } = parse(readFileSync(file, 'utf8')).spec;
    for (const { name: version, schema } of versions) {
      const text = JSON.stringify(withoutOtherFields(schema.openAPIV3Schema));
      writeFileSync(join(folder, `${names.kind.toLowerCase()}_${version}.json`), text);
    }
  }
  return join(folder, '{{.ResourceKind}}_{{.ResourceAPIVersion}}.json');
}

/** A cluster drops fields that a schema does not name, so refuse them. */
function withoutOtherFields(schema) {
  if (Array.isArray(schema)) return schema.map(withoutOtherFields);
  if (typeof schema !== 'object' || schema === null) return schema;
  const inner = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, withoutOtherFields(value)]));
  const isClosed = typeof schema.properties === 'object' && schema['x-kubernetes-preserve-unknown-fields'] !== true;
  return isClosed && schema.additionalProperties === undefined ? { ...inner, additionalProperties: false } : inner;
}
