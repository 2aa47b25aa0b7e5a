import * as React from 'react';

import { ApiError } from '../api';
import { bytes } from '../format';
import { useHost } from '../host';
import { Output, Run } from '../model';
import { ErrorNote } from '../parts';
import { escapeHtml, INotebookFile, notebookDocument } from './document';
import { previewStyle } from './theme';

const SIZE_LIMIT = 40 * 2 ** 20;

/** The executed notebook, in a frame that has no scripts, no origin and no network. */
export function NotebookPreview(props: {
  run: Run;
  output: Output | undefined;
  isComplete: boolean;
}): React.ReactElement {
  const { run, output } = props;
  const { api, renderMarkdown, highlight } = useHost();
  const theme = useTheme();
  const [page, setPage] = React.useState<string | null>(null);
  const [error, setError] = React.useState<ApiError | null>(null);
  const isTooLarge = output !== undefined && output.size_bytes > SIZE_LIMIT;
  const name = output?.name;

  React.useEffect(() => {
    if (name === undefined || isTooLarge) {
      return;
    }
    const abort = new AbortController();
    const load = async () => {
      const file = await api.outputText(run.id, name, abort.signal);
      const notebook = JSON.parse(file) as INotebookFile & {
        metadata?: { language_info?: { name?: unknown } };
      };
      const language = notebook.metadata?.language_info?.name;
      const made = await notebookDocument(notebook, previewStyle(), {
        markdown: async source => (await renderMarkdown(source)) || escapeHtml(source),
        code: source => highlight(source, typeof language === 'string' ? language : 'python')
      });
      if (!abort.signal.aborted) {
        setPage(made);
        setError(null);
      }
    };
    load().catch(thrown => {
      if (!abort.signal.aborted) {
        setError(
          thrown instanceof SyntaxError
            ? new ApiError('notebook_invalid', 'The file is not a notebook: download it instead.')
            : ApiError.of(thrown)
        );
      }
    });
    return () => abort.abort();
  }, [api, run.id, name, isTooLarge, theme, renderMarkdown, highlight]);

  if (!output) {
    return (
      <p className="hm-Quiet hm-Pad">
        {props.isComplete
          ? 'The run ended before it left a notebook. Its log tells more.'
          : 'The executed notebook appears here when the run has ended.'}
      </p>
    );
  }
  if (isTooLarge) {
    return (
      <p className="hm-Pad">
        The notebook is too large to show here ({bytes(output.size_bytes)}).{' '}
        <a href={api.outputUrl(run.id, output.name, true)} download>
          Download it
        </a>
      </p>
    );
  }
  if (error) {
    return <ErrorNote error={error} />;
  }
  if (page === null) {
    return <p className="hm-Quiet hm-Pad">Loading…</p>;
  }
  return <iframe className="hm-Preview" title="Executed notebook" sandbox="" srcDoc={page} />;
}

function useTheme(): string {
  const read = () => document.body.dataset.jpThemeName ?? '';
  const [theme, setTheme] = React.useState(read);
  React.useEffect(() => {
    const observer = new MutationObserver(() => setTheme(read()));
    observer.observe(document.body, { attributeFilter: ['data-jp-theme-name'] });
    return () => observer.disconnect();
  }, []);
  return theme;
}
