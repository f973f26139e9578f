{{- define "mainstem.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "mainstem.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "mainstem.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "mainstem.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "mainstem.selector" -}}
app.kubernetes.io/name: {{ include "mainstem.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: replica
{{- end }}

{{- define "mainstem.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/name: {{ include "mainstem.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "mainstem.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "mainstem.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "mainstem.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}

{{- define "mainstem.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
# So that this user can read the files of secrets.
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "mainstem.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* What `serve` is told, and `doctor` as well. */}}
{{- define "mainstem.env" -}}
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: MAINSTEM_REPLICA
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: MAINSTEM_CONFIG
  value: /etc/mainstem/settings/mainstem.toml
- name: MAINSTEM_DATABASE
  valueFrom:
    secretKeyRef:
      name: {{ required "database.existingSecret is required: a Secret with the URL of PostgreSQL" .Values.database.existingSecret }}
      key: {{ .Values.database.key }}
{{- with .Values.bus }}
{{- if .existingSecret }}
- name: MAINSTEM_BUS
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret }}
      key: {{ .key }}
{{- end }}
{{- end }}
- name: MAINSTEM_LISTEN
  value: "0.0.0.0:{{ .Values.ports.http }}"
- name: MAINSTEM_INTERNAL_LISTEN
  value: "0.0.0.0:{{ .Values.ports.internal }}"
- name: MAINSTEM_RELAY_LISTEN
  value: "0.0.0.0:{{ .Values.ports.relay }}"
- name: MAINSTEM_RELAY_ADVERTISE
  value: "$(POD_IP):{{ .Values.ports.relay }}"
- name: MAINSTEM_DRAIN_TIMEOUT
  value: "{{ .Values.drainTimeoutSeconds }}s"
{{- if .Values.auth.existingSecret }}
- name: MAINSTEM_AUTH_FILE
  value: /etc/mainstem/auth/{{ .Values.auth.key }}
{{- else if .Values.auth.insecure }}
- name: MAINSTEM_INSECURE
  value: "true"
{{- else }}
{{- fail "auth.existingSecret is required: a Secret with a file of tokens; or auth.insecure, if anybody may do anything" }}
{{- end }}
{{- if .Values.peers.existingSecret }}
- name: MAINSTEM_PEER_SECRET_FILE
  value: /etc/mainstem/peers/{{ .Values.peers.key }}
{{- end }}
{{- with .Values.model }}
{{- if .existingSecret }}
- name: OPENAI_API_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret }}
      key: {{ .key }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "mainstem.volumeMounts" -}}
- name: settings
  mountPath: /etc/mainstem/settings
  readOnly: true
{{- if .Values.auth.existingSecret }}
- name: auth
  mountPath: /etc/mainstem/auth
  readOnly: true
{{- end }}
{{- if .Values.peers.existingSecret }}
- name: peers
  mountPath: /etc/mainstem/peers
  readOnly: true
{{- end }}
{{- if .Values.tls.existingSecret }}
- name: tls
  mountPath: {{ .Values.tls.mountPath }}
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "mainstem.volumes" -}}
- name: settings
  configMap:
    name: {{ include "mainstem.fullname" . }}
{{- $secrets := dict "auth" .Values.auth.existingSecret "peers" .Values.peers.existingSecret "tls" .Values.tls.existingSecret }}
{{- range $name, $secret := $secrets }}
{{- if $secret }}
- name: {{ $name }}
  secret:
    secretName: {{ $secret }}
    # No others' bit: fsGroup gives them to the user.
    defaultMode: 0440
{{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
