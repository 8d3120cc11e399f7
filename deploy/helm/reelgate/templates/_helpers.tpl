{{- define "reelgate.name" -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "reelgate.labels" -}}
app.kubernetes.io/name: reelgate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "reelgate.selector" -}}
app.kubernetes.io/name: reelgate
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "reelgate.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* The environment of every pod: settings, then secrets by reference. */}}
{{- define "reelgate.env" -}}
- {name: REELGATE_ENVIRONMENT, value: production}
- {name: REELGATE_RUN_LOOPS, value: {{ eq (int .Values.worker.replicas) 0 | quote }}}
- {name: REELGATE_DRAIN_DELAY_S, value: {{ .Values.drainDelay | quote }}}
- {name: REELGATE_DRAIN_S, value: {{ .Values.drain | quote }}}
{{- range $name, $value := omit .Values.settings "ENVIRONMENT" "RUN_LOOPS" "DRAIN_DELAY_S" "DRAIN_S" }}
- {name: REELGATE_{{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
- name: REELGATE_PEPPER
  valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret }}, key: pepper}}
{{- range list "upstream-token" "upstream-credentials" "upstream-proxy" "metrics-token" "previous-peppers" "webhook-key" "operator-webhook-secret" "otlp-headers" "oidc-client-secret" "bucket-secret" "bucket-session-token" "link-key" "sandbox-token" }}
- name: REELGATE_{{ . | upper | replace "-" "_" }}
  valueFrom: {secretKeyRef: {name: {{ $.Values.existingSecret }}, key: {{ . }}, optional: true}}
{{- end }}
{{- if eq .Values.database.kind "postgresql" }}
- name: REELGATE_DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret }}, key: database-url}}
{{- end }}
{{- end }}

{{- define "reelgate.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "reelgate.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "reelgate.placement" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}
