{{- define "deeplog-grpc.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "deeplog-grpc.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "deeplog-grpc.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "deeplog-grpc.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "deeplog-grpc.selectorLabels" -}}
app.kubernetes.io/name: {{ include "deeplog-grpc.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "deeplog-grpc.labels" -}}
{{ include "deeplog-grpc.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: deeplog-grpc
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "deeplog-grpc.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* Whether strangers are kept out by the server itself: "true", else empty. */ -}}
{{- define "deeplog-grpc.isGuarded" -}}
{{- if and .Values.tls.enabled (or .Values.tls.clientCa .Values.tokens.secretName) }}true{{ end }}
{{- end }}

{{- /* The configuration: what the chart knows, and over it what `config` says. */ -}}
{{- define "deeplog-grpc.config" -}}
{{- $own := dict
  "server" (dict "listen" "0.0.0.0:50051" "drain_delay_s" 5 "grace_s" 30)
  "receivers" (dict "otlp_http" (dict "listen" nil) "forward" (dict "listen" nil))
  "metrics" (dict "listen" "0.0.0.0:9464" "allow_public" true)
  "state" (dict "directory" "/var/lib/deeplog-grpc")
}}
{{- if .Values.otlpHttp.enabled }}
{{- $_ := set $own.receivers "otlp_http" (dict "listen" "0.0.0.0:4318") }}
{{- end }}
{{- if .Values.forward.enabled }}
{{- $_ := set $own.receivers "forward" (dict "listen" "0.0.0.0:24224" "allow_public" true) }}
{{- end }}
{{- /* Otherwise it is the network policy that guards. */ -}}
{{- if not (include "deeplog-grpc.isGuarded" .) }}
{{- $_ := set $own.server "allow_public" true }}
{{- if .Values.otlpHttp.enabled }}
{{- $_ := set $own.receivers.otlp_http "allow_public" true }}
{{- end }}
{{- end }}
{{- if .Values.tls.enabled }}
{{- $folder := "/etc/deeplog-grpc/tls" }}
{{- $_ := set $own "tls" (dict "cert" (print $folder "/tls.crt") "key" (print $folder "/tls.key")) }}
{{- if .Values.tls.clientCa }}
{{- $_ := set $own.tls "client_ca" (print $folder "/ca.crt") }}
{{- end }}
{{- if .Values.forward.enabled }}
{{- range $name, $file := $own.tls }}
{{- $_ := set $own.receivers.forward (print "tls_" $name) $file }}
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.tokens.secretName }}
{{- $_ := set $own "access" (dict "tokens_file" (print "/etc/deeplog-grpc/tokens/" .Values.tokens.secretKey)) }}
{{- end }}
{{- toYaml (mergeOverwrite $own (deepCopy .Values.config)) }}
{{- end }}

{{- /* Port of an address HOST:PORT. */ -}}
{{- define "deeplog-grpc.port" -}}
{{ splitList ":" . | last }}
{{- end }}

{{- /* The ports of the container, as a mapping of names. */ -}}
{{- define "deeplog-grpc.ports" -}}
{{- $config := include "deeplog-grpc.config" . | fromYaml }}
grpc: {{ include "deeplog-grpc.port" $config.server.listen }}
metrics: {{ include "deeplog-grpc.port" $config.metrics.listen }}
{{- if .Values.otlpHttp.enabled }}
otlp-http: {{ include "deeplog-grpc.port" $config.receivers.otlp_http.listen }}
{{- end }}
{{- if .Values.forward.enabled }}
forward: {{ include "deeplog-grpc.port" $config.receivers.forward.listen }}
{{- end }}
{{- end }}

{{- /* Draining, the work under way, then writing the sessions; after that the kubelet kills. */ -}}
{{- define "deeplog-grpc.terminationSeconds" -}}
{{- $server := (include "deeplog-grpc.config" . | fromYaml).server }}
{{- addf $server.drain_delay_s $server.grace_s 30 | ceil | int }}
{{- end }}

{{- define "deeplog-grpc.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "deeplog-grpc.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- /* What can be seen to be wrong before anything is installed. */ -}}
{{- define "deeplog-grpc.check" -}}
{{- if and .Values.tls.enabled (not .Values.tls.secretName) }}
{{- fail "tls.secretName must be given with tls.enabled: the Secret with tls.crt and tls.key" }}
{{- end }}
{{- if and .Values.tokens.secretName .Values.forward.enabled (not .Values.forward.sharedKeySecretName) }}
{{- fail "tokens do not hold for the Forward protocol: give forward.sharedKeySecretName, or set forward.enabled to false" }}
{{- end }}
{{- if and .Values.tls.clientCa .Values.serviceMonitor.enabled (not .Values.serviceMonitor.tlsConfig) }}
{{- fail "with tls.clientCa Prometheus needs a certificate of its own: give serviceMonitor.tlsConfig" }}
{{- end }}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.egress) }}
{{- range $name, $output := .Values.config.outputs }}
{{- if ne $output.type "file" }}
{{- fail (printf "the network policy would hold back output '%s': add where it connects to networkPolicy.egress" $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
