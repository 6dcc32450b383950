{{/* With the name of a nightly run, up to 12 letters, a CronJob may have 52. */}}
{{- define "nextbest.name" -}}
{{- .Release.Name | trunc 39 | trimSuffix "-" -}}
{{- end -}}

{{- define "nextbest.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "nextbest.name" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{/* Labels that select, of the component in (list $ "api"). */}}
{{- define "nextbest.selector" -}}
app.kubernetes.io/name: nextbest
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "nextbest.labels" -}}
{{ include "nextbest.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ (index . 0).Chart.Name }}-{{ (index . 0).Chart.Version }}
{{- end -}}

{{/* What all pods have. Service links would set NEXTBEST_SERVICE_HOST and the like. */}}
{{- define "nextbest.pod" -}}
serviceAccountName: {{ include "nextbest.serviceAccount" . }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "nextbest.container" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* The environment of all processes. */}}
{{- define "nextbest.environment" -}}
- name: NEXTBEST_REDIS_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.redis.secretName }}
      key: {{ .Values.redis.secretKey }}
- name: NEXTBEST_KEY_PREFIX
  value: {{ .Values.redis.keyPrefix | quote }}
{{- range $name, $value := .Values.settings }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/* That of processes that decide. */}}
{{- define "nextbest.deciding" -}}
- name: NEXTBEST_DURABILITY
  value: {{ .Values.redis.durability | quote }}
- name: NEXTBEST_RULES
  value: /app/rules
- name: NEXTBEST_FOLLOW
  value: {{ ternary "published" "folder" (eq .Values.rules.source "published") }}
- name: NEXTBEST_MODELS
  value: /app/models
{{- end -}}

{{/* The root is read-only: this is where something may be written. */}}
{{- define "nextbest.mounts" -}}
- {name: scratch, mountPath: /tmp, subPath: tmp}
- {name: scratch, mountPath: /app/.nextbest, subPath: nextbest}
{{- end -}}

{{- define "nextbest.decidingMounts" -}}
{{- if eq .Values.rules.source "configMap" }}
- {name: rules, mountPath: /app/rules, readOnly: true}
{{- end }}
{{- if .Values.models.claimName }}
- {name: models, mountPath: /app/models, readOnly: true}
{{- end }}
{{- end -}}

{{- define "nextbest.volumes" -}}
- name: scratch
  emptyDir: {}
{{- end -}}

{{- define "nextbest.decidingVolumes" -}}
{{- if eq .Values.rules.source "configMap" }}
- name: rules
  configMap: {name: {{ .Values.rules.configMap }}}
{{- end }}
{{- if .Values.models.claimName }}
- name: models
  persistentVolumeClaim: {claimName: {{ .Values.models.claimName }}, readOnly: true}
{{- end }}
{{- end -}}

{{/* The variables of the archive's object store. */}}
{{- define "nextbest.archiveStore" -}}
{{- if and .Values.archive.url .Values.archive.environmentSecretName -}}
envFrom:
  - secretRef: {name: {{ .Values.archive.environmentSecretName }}}
{{- end }}
{{- end }}
