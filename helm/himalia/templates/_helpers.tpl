{{- /* What the templates share. Every pod is unprivileged, with a root file system nobody writes. */}}

{{- /* Labels of an object: (list $ "component"). */}}
{{- define "himalia.labels" -}}
{{- $root := index . 0 -}}
{{ include "himalia.selector" . }}
app.kubernetes.io/part-of: himalia
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
app: himalia
release: {{ $root.Release.Name }}
{{- end }}

{{- /* What selects a component's pods, and never changes. */}}
{{- define "himalia.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: himalia
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
component: {{ index . 1 }}
{{- end }}

{{- /* Annotations and labels of a pod: (list $ "component" .Values.component). */}}
{{- define "himalia.podMetadata" -}}
{{- $root := index . 0 -}}{{- $own := index . 2 -}}
labels:
  {{- include "himalia.labels" . | nindent 2 }}
  {{- with $own.labels }}{{ toYaml . | nindent 2 }}{{ end }}
annotations:
  # Pods are made anew when what they read at their start has changed.
  checksum/config: {{ include "himalia.told" $root | sha256sum }}
  {{- include "himalia.tlsChecksum" $root | nindent 2 }}
  {{- with $own.annotations }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}

{{- /* Of the certificates that a pod has read at its start. */}}
{{- define "himalia.tlsChecksum" -}}
{{- with include "himalia.tlsStamp" . -}}
checksum/tls: {{ sha256sum . }}
{{- end -}}
{{- end }}

{{- define "himalia.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{ $image.name }}@{{ $image.digest }}
{{- else -}}
{{ $image.name }}:{{ $image.tag | default $root.Values.imageTag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "himalia.secretName" -}}
{{ .Values.secrets.existing | default "himalia" }}
{{- end }}

{{- /* The Secret with hub-url and store-url, the databases' addresses. */}}
{{- define "himalia.databaseSecretName" -}}
{{- if .Values.database.bundled -}}
himalia-database
{{- else -}}
{{ required "database.external.secretName must name a Secret with hub-url and store-url, as database.bundled is false" .Values.database.external.secretName }}
{{- end -}}
{{- end }}

{{- define "himalia.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "himalia.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* Where a component's pods may run: .Values.component. */}}
{{- define "himalia.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "himalia.pulls" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Variables of a map of names and values. */}}
{{- define "himalia.env" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  {{- if kindIs "map" $value }}
  {{- toYaml $value | nindent 2 }}
  {{- else }}
  value: {{ $value | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* The address of everything below the hub's host, with a slash at both ends. */}}
{{- define "himalia.baseUrl" -}}
{{- $inner := .Values.hub.baseUrl | trimAll "/" -}}
{{- if $inner }}/{{ $inner }}/{{ else }}/{{ end -}}
{{- end }}

{{- /* What the configuration goes by: the values that it reads, as JSON. */}}
{{- define "himalia.told" -}}
{{- $pull := "" -}}
{{- with .Values.imagePullSecrets -}}{{- $pull = (index . 0).name -}}{{- end -}}
{{- dict
  "hub" (dict "config" .Values.hub.config "extraConfig" .Values.hub.extraConfig "baseUrl" (include "himalia.baseUrl" .))
  "singleuser" (merge (dict "reference" (include "himalia.image" (list . .Values.singleuser.image))) .Values.singleuser)
  "namespaces" (pick .Values.namespaces "prefix" "onUserDeleted")
  "watchAll" .Values.control.watchAll
  "cull" .Values.cull
  "hstsSeconds" (ternary .Values.proxy.https.hstsSeconds 0 (or .Values.proxy.https.enabled (not (empty .Values.ingress.tls))))
  "dns" .Values.networkPolicy.dns
  "release" (dict "name" .Release.Name "namespace" .Release.Namespace)
  "pullSecret" $pull
  "internalTls" .Values.internalTls.enabled
  | toJson -}}
{{- end }}

{{- /* The configuration and those keys of the secrets that a component needs, as volumes:
  (list $ (list "key" ...) (list "database key" ...)). */}}
{{- define "himalia.volumes" -}}
{{- $root := index . 0 -}}
- name: config
  projected:
    defaultMode: 0440
    sources:
      - configMap: {name: hub}
      - secret:
          name: hub
          items: [{key: values.json, path: values.json}]
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ include "himalia.secretName" $root }}
          items:
            {{- range index . 1 }}
            - {key: {{ . }}, path: {{ . }}}
            {{- end }}
      {{- with index . 2 }}
      - secret:
          name: {{ include "himalia.databaseSecretName" $root }}
          items:
            {{- range . }}
            - {key: {{ . }}, path: {{ . }}}
            {{- end }}
            {{- if not $root.Values.database.bundled }}
            {{- with $root.Values.database.external.ca }}
            - {key: {{ . }}, path: database-ca.crt}
            {{- end }}
            {{- end }}
      {{- end }}
{{- include "himalia.tlsVolume" (list $root (index . 3)) }}
- name: state
  emptyDir: {}
- name: tmp
  emptyDir: {}
{{- end }}

{{- /* A part's key and certificate, as a volume: (list $ "component"). */}}
{{- define "himalia.tlsVolume" -}}
{{- $root := index . 0 -}}
{{- if $root.Values.internalTls.enabled }}
- name: tls
  secret:
    secretName: {{ include "himalia.tlsSecretName" . }}
    defaultMode: 0440
    items:
      {{- range list "tls.key" "tls.crt" "ca.crt" }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
{{- end }}
{{- end }}

{{- define "himalia.tlsMount" -}}
{{- if .Values.internalTls.enabled }}
- {name: tls, mountPath: /var/run/himalia/tls, readOnly: true}
{{- end }}
{{- end }}

{{- define "himalia.tlsSecretName" -}}
{{- $root := index . 0 -}}
{{ $root.Values.internalTls.existing | default "himalia-tls" }}-{{ index . 1 }}
{{- end }}

{{- /* Where other parts find the hub. */}}
{{- define "himalia.hubUrl" -}}
{{- if .Values.internalTls.enabled -}}
https://hub.{{ .Release.Namespace }}:8444
{{- else -}}
http://hub:8081
{{- end -}}
{{- end }}

{{- /* When certificates were made, so that pods are made anew with new ones. */}}
{{- define "himalia.tlsStamp" -}}
{{- if and .Values.internalTls.enabled (not .Values.internalTls.existing) -}}
{{ (include "himalia.tls" . | fromJson).made }}
{{- end -}}
{{- end }}

{{- /* All keys and certificates, made once in a rendering: those that are there are taken, unless
  they are to be renewed. `made` is when, in seconds since 1970. */}}
{{- define "himalia.tls" -}}
{{- $root := . -}}
{{- if not (hasKey .Values "madeTls") -}}
{{- $found := lookup "v1" "Secret" .Release.Namespace "himalia-tls-authority" | default dict -}}
{{- $old := $found.data | default dict -}}
{{- $now := now | unixEpoch | int64 -}}
{{- $day := 86400 -}}
{{- $ca := dict -}}
{{- if index $old "ca.key" -}}
{{- $ca = buildCustomCert (index $old "ca.crt") (index $old "ca.key") -}}
{{- else -}}
{{- $ca = genCAWithKey (printf "himalia %s" .Release.Namespace) 7300 (genPrivateKey "ecdsa") -}}
{{- end -}}
{{- $made := index $old "made" | default "" | b64dec | default "0" | int64 -}}
{{- $isOld := gt (sub $now $made) (mul .Values.internalTls.renewAfterDays $day) -}}
{{- $parts := dict -}}
{{- range $part, $names := dict "hub" (list "hub") "control" (list "control") "namespaces" (list "namespaces") "proxy" (list "proxy-api" "proxy-public") "database" (list "database") "test" (list "test") -}}
{{- $kept := (lookup "v1" "Secret" $root.Release.Namespace (printf "himalia-tls-%s" $part) | default dict).data | default dict -}}
{{- if and (index $kept "tls.key") (not $isOld) -}}
{{- $_ := set $parts $part (dict "key" (index $kept "tls.key") "crt" (index $kept "tls.crt")) -}}
{{- else -}}
{{- $all := list -}}
{{- range $names -}}
{{- $all = concat $all (list . (printf "%s.%s" . $root.Release.Namespace) (printf "%s.%s.svc" . $root.Release.Namespace)) -}}
{{- end -}}
{{- $cert := genSignedCertWithKey (printf "himalia %s" $part) (list) $all (int $root.Values.internalTls.validDays) $ca (genPrivateKey "ecdsa") -}}
{{- $_ := set $parts $part (dict "key" ($cert.Key | b64enc) "crt" ($cert.Cert | b64enc)) -}}
{{- end -}}
{{- end -}}
{{- $when := ternary $now $made $isOld -}}
{{- $_ := set .Values "madeTls" (dict "ca" (dict "crt" ($ca.Cert | b64enc) "key" ($ca.Key | b64enc)) "parts" $parts "made" ($when | toString)) -}}
{{- end -}}
{{- .Values.madeTls | toJson -}}
{{- end }}

{{- define "himalia.mounts" -}}
- {name: config, mountPath: /etc/himalia, readOnly: true}
- {name: secrets, mountPath: /var/run/himalia/secrets, readOnly: true}
{{- include "himalia.tlsMount" . }}
- {name: state, mountPath: /var/lib/himalia}
- {name: tmp, mountPath: /tmp}
{{- end }}

{{- define "himalia.podEnv" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- end }}

{{- define "himalia.dns" -}}
{{- with .Values.networkPolicy.dns -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .namespace }}
      podSelector:
        matchLabels: {{- toYaml .podLabels | nindent 10 }}
    {{- range .addresses }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  ports:
    {{- range .ports }}
    - {port: {{ . }}, protocol: UDP}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}
{{- end }}

{{- /* The API server has no label and no address that one could know: wherever it is. */}}
{{- define "himalia.apiServer" -}}
- ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}

{{- /* 256 bits in hexadecimal. */}}
{{- define "himalia.hex" -}}
{{ randBytes 32 | b64dec | printf "%x" }}
{{- end }}

{{- /* A rule of a NetworkPolicy between components: (list $ "to" "component" port). */}}
{{- define "himalia.link" -}}
- {{ index . 1 }}:
    - podSelector:
        matchLabels:
          app.kubernetes.io/name: himalia
          app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
          app.kubernetes.io/component: {{ index . 2 }}
  ports: [{port: {{ index . 3 }}, protocol: TCP}]
{{- end }}

{{- /* The same, between a component and users' pods: (list $ "to" (list "session") port). */}}
{{- define "himalia.userLink" -}}
- {{ index . 1 }}:
    - namespaceSelector:
        matchLabels:
          himalia.io/release: {{ (index . 0).Release.Namespace }}
      podSelector:
        matchExpressions:
          - {key: app.kubernetes.io/component, operator: In, values: [{{ join ", " (index . 2) }}]}
  ports: [{port: {{ index . 3 }}, protocol: TCP}]
{{- end }}

{{- /* A NetworkPolicy's head: (list $ "component"). What it does not name is closed. */}}
{{- define "himalia.policy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ index . 1 }}
  labels: {{- include "himalia.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels: {{- include "himalia.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
{{- end }}
