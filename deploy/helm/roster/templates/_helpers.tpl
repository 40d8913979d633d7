{{/* The name of every object: the release's, with "roster" if it lacks it. */}}
{{- define "roster.name" -}}
{{- if contains "roster" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-roster" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "roster.labels" -}}
app.kubernetes.io/name: roster
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: roster
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "roster.serverSelector" -}}
app.kubernetes.io/name: roster
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end -}}

{{- define "roster.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The settings, with those that follow from tls. */}}
{{- define "roster.settings" -}}
{{- $settings := dict -}}
{{- if .Values.tls.secretName -}}
{{- $settings = dict "TLS_CERT" "/etc/roster/tls/tls.crt" "TLS_KEY" "/etc/roster/tls/tls.key" -}}
{{- if .Values.tls.requireClientCertificates -}}
{{- $_ := set $settings "TLS_CLIENT_CA" "/etc/roster/tls/ca.crt" -}}
{{- end -}}
{{- else -}}
{{- $settings = dict "INSECURE" "true" -}}
{{- end -}}
{{- /* A server with AUTH=off does not start with an access file. */ -}}
{{- if ne (.Values.settings.AUTH | default "auto") "off" -}}
{{- $_ := set $settings "ACCESS_FILE" "/etc/roster/access/access.yaml" -}}
{{- end -}}
{{- toYaml (merge (deepCopy .Values.settings) $settings) -}}
{{- end -}}

{{/* SHUTDOWN_DELAY_MS, SHUTDOWN_TIMEOUT_MS and five seconds, three more than Roster needs. */}}
{{- define "roster.gracePeriod" -}}
{{- $delay := .Values.settings.SHUTDOWN_DELAY_MS | default "0" | int -}}
{{- $timeout := .Values.settings.SHUTDOWN_TIMEOUT_MS | default "10000" | int -}}
{{- div (add $delay $timeout 5999) 1000 -}}
{{- end -}}

{{/* The port of an address such as 0.0.0.0:50051. */}}
{{- define "roster.port" -}}
{{- . | splitList ":" | last -}}
{{- end -}}

{{- define "roster.podSecurityContext" -}}
runAsNonRoot: true
# The user `node` of the image. Kubernetes cannot check a name for runAsNonRoot.
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "roster.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* One key of the database's Secret as DATABASE_URL. */}}
{{- define "roster.databaseUrl" -}}
env:
  - name: DATABASE_URL
    valueFrom:
      secretKeyRef:
        name: {{ .Values.database.secretName }}
        key: {{ .Values.database.urlKey }}
{{- end -}}

{{/* Values that the pods of the server and of the migration share. */}}
{{- define "roster.scheduling" -}}
{{- $shared := dict -}}
{{- range $name := list "imagePullSecrets" "nodeSelector" "priorityClassName" "tolerations" -}}
{{- with get $.Values $name -}}
{{- $_ := set $shared $name . -}}
{{- end -}}
{{- end -}}
{{- if $shared -}}
{{- toYaml $shared -}}
{{- end -}}
{{- end -}}

{{/* A TCP connection succeeds even if the process does not respond, but needs no client certificate. */}}
{{- define "roster.livenessProbe" -}}
{{- if and .Values.tls.secretName .Values.tls.requireClientCertificates -}}
tcpSocket:
  port: grpc
{{- else -}}
httpGet:
  path: /healthz
  port: http
  {{- if .Values.tls.secretName }}
  scheme: HTTPS
  {{- end }}
{{- end -}}
{{- end -}}

{{/* Kubernetes' gRPC probes do not use TLS, and its HTTPS probes have no client certificate. */}}
{{- define "roster.servingProbe" -}}
{{- if and .Values.tls.secretName .Values.tls.requireClientCertificates -}}
exec:
  command: [healthcheck]
{{- else if .Values.tls.secretName -}}
httpGet:
  path: /readyz
  port: http
  scheme: HTTPS
{{- else -}}
grpc:
  port: {{ include "roster.port" .Values.settings.GRPC_ADDRESS }}
{{- end -}}
{{- end -}}
