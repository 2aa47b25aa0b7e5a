import { jupyterHighlightStyle } from '@jupyterlab/codemirror';

const VARIABLES = [
  '--jp-layout-color1',
  '--jp-layout-color2',
  '--jp-border-color2',
  '--jp-content-font-color1',
  '--jp-content-font-color2',
  '--jp-content-font-family',
  '--jp-content-font-size1',
  '--jp-code-font-family',
  '--jp-code-font-size',
  '--jp-cell-editor-background',
  '--jp-rendermime-error-background',
  '--jp-content-link-color',
  '--jp-mirror-editor-keyword-color',
  '--jp-mirror-editor-atom-color',
  '--jp-mirror-editor-number-color',
  '--jp-mirror-editor-def-color',
  '--jp-mirror-editor-variable-color',
  '--jp-mirror-editor-variable-2-color',
  '--jp-mirror-editor-variable-3-color',
  '--jp-mirror-editor-punctuation-color',
  '--jp-mirror-editor-property-color',
  '--jp-mirror-editor-operator-color',
  '--jp-mirror-editor-comment-color',
  '--jp-mirror-editor-string-color',
  '--jp-mirror-editor-string-2-color',
  '--jp-mirror-editor-meta-color',
  '--jp-mirror-editor-builtin-color'
];

const PAGE = `
* { box-sizing: border-box; }
body { margin: 0; padding: 16px 20px 40px; background: var(--jp-layout-color1);
  color: var(--jp-content-font-color1); line-height: 1.5;
  font: var(--jp-content-font-size1) var(--jp-content-font-family); }
pre { margin: 0; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere;
  font: var(--jp-code-font-size)/1.4 var(--jp-code-font-family); }
a { color: var(--jp-content-link-color); }
img { max-width: 100%; }
.code { margin: 12px 0; }
.row { display: flex; }
.prompt { flex: 0 0 48px; padding: 7px 8px 0 0; text-align: right;
  color: var(--jp-content-font-color2);
  font: var(--jp-code-font-size)/1.4 var(--jp-code-font-family); }
.source { flex: 1; min-width: 0; padding: 7px 10px; border: 1px solid var(--jp-border-color2);
  background: var(--jp-cell-editor-background); border-radius: 2px; }
.code > pre, .code > img, .code > .html, .markdown, .raw { margin: 6px 0 6px 48px; }
.code > .html { overflow-x: auto; }
.code > img { background: #fff; }
.markdown { margin-top: 14px; }
.label { margin: 0 0 4px 48px; color: var(--jp-content-font-color2); font-size: 12px; }
.stderr, .error { padding: 6px 10px; background: var(--jp-rendermime-error-background); }
table { border: none; border-collapse: collapse; font-size: 12px; }
th, td { padding: 4px 10px; text-align: right; border: none; }
thead { border-bottom: 1px solid var(--jp-border-color2); }
tbody tr:nth-child(even) { background: var(--jp-layout-color2); }
`;

/** Write the preview's style in the colours of JupyterLab's present theme. */
export function previewStyle(): string {
  const computed = getComputedStyle(document.body);
  const variables = VARIABLES.map(name => `${name}: ${computed.getPropertyValue(name)};`);
  const scheme = document.body.dataset.jpThemeLight === 'false' ? 'dark' : 'light';
  const code = jupyterHighlightStyle.module?.getRules() ?? '';
  return `:root { color-scheme: ${scheme}; ${variables.join(' ')} } ${PAGE} ${code}`;
}
