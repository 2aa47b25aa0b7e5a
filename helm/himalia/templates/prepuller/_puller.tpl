{{- /* Where users' pods may run. */}}
{{- define "himalia.usersPlacement" -}}
{{- with .Values.singleuser.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.singleuser.extraTolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The pod that has a machine fetch the sessions' images: (list $ "component"). */}}
{{- define "himalia.puller" -}}
{{- $root := index . 0 -}}
{{- $image := include "himalia.image" (list $root $root.Values.singleuser.image) -}}
{{- $images := list $image -}}
{{- range $root.Values.singleuser.profiles -}}
{{- with .image -}}{{- $images = append $images . -}}{{- end -}}
{{- end -}}
{{- range $root.Values.prePuller.extraImages -}}
{{- $images = append $images . -}}
{{- end -}}
metadata:
  labels: {{- include "himalia.labels" . | nindent 4 }}
  {{- with $root.Values.prePuller.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext:
    {{- include "himalia.podSecurity" $root | nindent 4 }}
  {{- include "himalia.pulls" $root | nindent 2 }}
  {{- include "himalia.usersPlacement" $root | nindent 2 }}
  initContainers:
    {{- range $number, $one := $images | uniq }}
    - name: image-{{ $number }}
      image: {{ $one }}
      imagePullPolicy: {{ $root.Values.singleuser.image.pullPolicy }}
      command: ["true"]
      resources: {{- toYaml $root.Values.prePuller.resources | nindent 8 }}
      securityContext:
        {{- include "himalia.containerSecurity" $root | nindent 8 }}
    {{- end }}
  containers:
    - name: stay
      image: {{ $image }}
      imagePullPolicy: {{ $root.Values.singleuser.image.pullPolicy }}
      command: [sleep, infinity]
      resources: {{- toYaml $root.Values.prePuller.resources | nindent 8 }}
      securityContext:
        {{- include "himalia.containerSecurity" $root | nindent 8 }}
{{- end }}

{{- /* A policy for pods that talk to nobody: (list $ "component"). */}}
{{- define "himalia.silent" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ index . 1 }}
  labels: {{- include "himalia.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels: {{- include "himalia.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress: []
  egress: []
{{- end }}
