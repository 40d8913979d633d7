/** Renders the kustomizations and the Helm chart, and compares them. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { parse, parseAllDocuments } from 'yaml';

export const deploy = join(import.meta.dirname, '..', '..', 'deploy');
export const chart = join(deploy, 'helm', 'roster');
const release = ['template', 'roster', chart, '--namespace', 'roster', '--kube-version', '1.37.0'];

/** The objects that a folder of deploy/kubernetes creates, as YAML. */
export function kustomize(bin, folder) {
  return execFileSync(join(bin, 'kustomize'), ['build', join(deploy, 'kubernetes', folder)], { encoding: 'utf8' });
}

/** The objects that the chart creates, as YAML. Throws with Helm's text if the values are invalid. */
export function helm(bin, ...args) {
  return execFileSync(join(bin, 'helm'), [...release, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Labels that only Helm writes. */
const ownLabels = [
  'app.kubernetes.io/instance',
  'app.kubernetes.io/version',
  'app.kubernetes.io/managed-by',
  'helm.sh/chart',
];
const isOwnAnnotation = (name) => /^(argocd\.argoproj\.io|helm\.sh|checksum)\//.test(name);

/** The objects of a YAML text by kind and name, without the differences that the tools cause. */
export function objectsOf(yaml) {
  const objects = parseAllDocuments(yaml)
    .map((document) => normalize(document.toJS()))
    .filter((object) => object !== null)
    .map((object) => [`${object.kind} ${object.metadata.name}`, object]);
  return Object.fromEntries(objects.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function normalizeField(name, value) {
  if (name === 'image') return value.replace(/:.*/, '');
  // Its comments differ.
  return name === 'access.yaml' ? parse(value) : normalize(value);
}

function normalize(value) {
  if (Array.isArray(value)) return value.map(normalize);
  // kustomize adds a hash to the name of the settings.
  if (typeof value === 'string') return value.replace(/^(roster-settings)-[a-z0-9]{10}$/, '$1');
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value)
    .filter(([name]) => !ownLabels.includes(name) && !isOwnAnnotation(name) && name !== 'imagePullPolicy')
    .map(([name, one]) => [name, normalizeField(name, one)])
    .filter(([name, one]) => name !== 'annotations' || Object.keys(one).length > 0)
    .filter(([name]) => name !== 'namespace');
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}
