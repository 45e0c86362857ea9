{{- define "costmeter.labels" -}}
app.kubernetes.io/name: costmeter
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "costmeter.selector" -}}
app.kubernetes.io/name: costmeter
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "costmeter.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* One release a namespace: the names are what the documentation says. */ -}}
{{- define "costmeter.agentConfig" -}}
{{- $config := deepCopy .Values.agent.config -}}
{{- if not $config.forward.url -}}
{{- $_ := set $config.forward "url" (printf "http://costmeter.%s.svc:9952" .Release.Namespace) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end }}
