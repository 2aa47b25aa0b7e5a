import { plainText } from '../terminal';

const TEXT_LIMIT = 100_000;
const BASE64 = /^[A-Za-z0-9+/=\s]+$/;

/** What a notebook's file holds, as far as the preview reads it; everything may be missing. */
export interface INotebookFile {
  cells?: ICellFile[];
}

interface ICellFile {
  cell_type?: string;
  source?: unknown;
  execution_count?: unknown;
  outputs?: IOutputFile[];
  metadata?: { tags?: unknown };
}

interface IOutputFile {
  output_type?: string;
  name?: string;
  text?: unknown;
  data?: Record<string, unknown>;
  traceback?: unknown;
  ename?: unknown;
  evalue?: unknown;
}

/** How Markdown and code become HTML; what they give is only ever shown in the sandbox. */
export interface IRenderers {
  markdown: (source: string) => Promise<string>;
  code: (source: string) => Promise<string>;
}

/**
 * Write an executed notebook as one page for an `<iframe sandbox>`.
 *
 * Nothing of a notebook is trusted: the frame has an opaque origin and no scripts, and the page's
 * own policy loads nothing at all, so that even its images can only be data.
 */
export async function notebookDocument(
  notebook: INotebookFile,
  style: string,
  renderers: IRenderers
): Promise<string> {
  const cells = await Promise.all(
    (Array.isArray(notebook.cells) ? notebook.cells : []).map(cell => cellHtml(cell, renderers))
  );
  return `<!doctype html><html><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="referrer" content="no-referrer"><base target="_blank">
<title>Executed notebook</title><style>${style}</style></head>
<body>${cells.join('\n')}</body></html>`;
}

/** Write text so that it stays text in HTML. */
export function escapeHtml(text: string): string {
  const names: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;'
  };
  return text.replace(/[&<>"']/g, character => names[character] ?? '');
}

async function cellHtml(cell: ICellFile, renderers: IRenderers): Promise<string> {
  const source = join(cell.source);
  if (cell.cell_type === 'markdown') {
    return `<div class="markdown">${await renderers.markdown(source)}</div>`;
  }
  if (cell.cell_type !== 'code') {
    return `<pre class="raw">${escapeHtml(source)}</pre>`;
  }
  const count = typeof cell.execution_count === 'number' ? String(cell.execution_count) : ' ';
  const outputs = (Array.isArray(cell.outputs) ? cell.outputs : []).map(outputHtml).join('');
  const tags = Array.isArray(cell.metadata?.tags) ? cell.metadata.tags : [];
  const label = tags.includes('injected-parameters')
    ? '<div class="label">Parameters of this run</div>'
    : '';
  return `<div class="code">${label}<div class="row"><div class="prompt">[${count}]</div>
<pre class="source">${await renderers.code(source)}</pre></div>${outputs}</div>`;
}

function outputHtml(output: IOutputFile): string {
  if (output.output_type === 'stream') {
    const kind = output.name === 'stderr' ? 'stream stderr' : 'stream';
    return `<pre class="${kind}">${text(join(output.text))}</pre>`;
  }
  if (output.output_type === 'error') {
    const lines = Array.isArray(output.traceback) ? output.traceback.join('\n') : '';
    return `<pre class="error">${text(lines || `${output.ename}: ${output.evalue}`)}</pre>`;
  }
  return dataHtml(output.data ?? {});
}

function dataHtml(data: Record<string, unknown>): string {
  if (data['text/html'] !== undefined) {
    return `<div class="html">${join(data['text/html'])}</div>`;
  }
  for (const type of ['image/png', 'image/jpeg', 'image/gif', 'image/webp']) {
    const content = join(data[type]);
    if (content && BASE64.test(content)) {
      return `<img alt="Output" src="data:${type};base64,${content.replace(/\s/g, '')}">`;
    }
  }
  const svg = join(data['image/svg+xml']);
  if (svg) {
    return `<img alt="Output" src="data:image/svg+xml,${encodeURIComponent(svg)}">`;
  }
  const plain = join(data['text/markdown'] ?? data['text/latex'] ?? data['text/plain']);
  if (plain) {
    return `<pre class="plain">${text(plain)}</pre>`;
  }
  const types = Object.keys(data).join(', ');
  return types ? `<p class="label">Not shown here: ${escapeHtml(types)}</p>` : '';
}

function text(raw: string): string {
  const cut = raw.length > TEXT_LIMIT;
  const shown = escapeHtml(plainText(cut ? raw.slice(0, TEXT_LIMIT) : raw));
  return cut ? `${shown}\n… ${raw.length - TEXT_LIMIT} more characters: see the file` : shown;
}

function join(lines: unknown): string {
  if (Array.isArray(lines)) {
    return lines.join('');
  }
  return typeof lines === 'string' ? lines : '';
}
