import { describe, expect, it } from 'vitest';

import { escapeHtml, notebookDocument } from './document';

const renderers = {
  markdown: async (source: string) => source,
  code: async (source: string) => escapeHtml(source)
};

function page(...outputs: object[]): Promise<string> {
  const cell = { cell_type: 'code', source: '1 < 2', execution_count: 3, outputs };
  return notebookDocument({ cells: [cell] }, '', renderers);
}

describe('the preview of a notebook', () => {
  it('forbids all loading in its first element', async () => {
    const html = await page();
    expect(html.indexOf("default-src 'none'; img-src data:")).toBeLessThan(html.indexOf('<body>'));
  });

  it('escapes code, text and errors', async () => {
    const html = await page(
      { output_type: 'stream', name: 'stdout', text: '<b>bold</b>' },
      { output_type: 'error', ename: '<i>', evalue: '&', traceback: [] }
    );
    expect(html).toContain('1 &lt; 2');
    expect(html).toContain('&lt;b&gt;bold');
    expect(html).toContain('&lt;i&gt;: &amp;');
  });

  it('takes an image only as data that is nothing else', async () => {
    const html = await page({
      output_type: 'display_data',
      data: { 'image/png': '"><script>', 'text/plain': 'an image' }
    });
    expect(html).not.toContain('<script>');
    expect(html).toContain('an image');
  });

  it('says what it cannot show', async () => {
    const data = { 'application/vnd.plotly.v1+json': {} };
    expect(await page({ output_type: 'display_data', data })).toContain('Not shown here');
  });

  it.each([{}, { cells: 'x' }, { cells: [{}, { cell_type: 'code', outputs: 7 }] }])(
    'stands what is not a notebook: %j',
    async broken => {
      expect(await notebookDocument(broken as object, '', renderers)).toContain('</html>');
    }
  );
});
