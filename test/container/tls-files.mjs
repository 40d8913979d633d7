/** Writes certificates, settings and an override of docker-compose.yml for the check with TLS. */
import { execFileSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Returns the paths of the files, which the user of the image can read. */
export function writeTlsFiles(folder, { tlsPort, gatewayPort }) {
  const at = (name) => join(folder, name);
  const openssl = (...args) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  openssl('req', '-x509', ...newKey, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=Check');
  const names = 'subjectAltName=DNS:localhost,DNS:roster';
  const issuer = ['-CA', 'ca.pem', '-CAkey', 'ca.key'];
  const noAuthority = 'basicConstraints=CA:FALSE';
  const files = ['-keyout', 'key.pem', '-out', 'cert.pem', '-subj', '/CN=roster'];
  openssl('req', '-x509', ...newKey, ...issuer, ...files, '-addext', names, '-addext', noAuthority);
  chmodSync(folder, 0o755);
  // The user in the container has another id.
  chmodSync(at('key.pem'), 0o644);

  writeFileSync(
    at('tls.env'),
    [
      'GRPC_ADDRESS=0.0.0.0:7443',
      'WORKERS=2',
      'TLS_CERT=/certificates/cert.pem',
      'TLS_KEY=/certificates/key.pem',
      'TLS_CLIENT_CA=/certificates/ca.pem',
    ].join('\n'),
  );
  writeFileSync(
    at('tls.yml'),
    `services:
  roster:
    volumes: ["${folder}:/certificates:ro"]
    ports: ["127.0.0.1:${tlsPort}:7443"]
  gateway:
    build: .
    command: gateway
    read_only: true
    volumes: ["${folder}:/certificates:ro"]
    environment:
      TARGET: roster:7443
      TARGET_CA: /certificates/ca.pem
      TARGET_CERT: /certificates/cert.pem
      TARGET_KEY: /certificates/key.pem
      INSECURE: "true"
    ports: ["127.0.0.1:${gatewayPort}:8080"]
`,
  );
  const paths = { ca: at('ca.pem'), cert: at('cert.pem'), key: at('key.pem') };
  return { ...paths, envFile: at('tls.env'), composeFile: at('tls.yml') };
}
