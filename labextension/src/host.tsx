import { ReactWidget } from '@jupyterlab/ui-components';
import type { Signal } from '@lumino/signaling';
import * as React from 'react';

import type { Api } from './api';
import { usePageVisible } from './polling';

/** What components may ask of JupyterLab. */
export interface IHost {
  api: Api;
  /** Fires after something was made, changed or deleted from here. */
  changed: Signal<unknown, void>;
  openRun: (runId: string) => void;
  /** Open the form: for a notebook's new job, for a job that exists, or empty. */
  openForm: (start: { notebook?: string; jobId?: string }) => void;
  openSchedule: (start: { jobId: string; scheduleId?: string }) => void;
  openUsage: () => void;
  /** Name of this server at the hub, empty for the default one; null where there is no hub. */
  server: string | null;
  /** Fetch a notebook of the file browser. */
  readNotebook: (path: string) => Promise<unknown>;
  /** Turn Markdown into HTML, which must only be shown in a sandbox. */
  renderMarkdown: (source: string) => Promise<string>;
  /** Turn code into HTML with its colours; what is not a known language is escaped only. */
  highlight: (source: string, language: string) => Promise<string>;
}

const HostContext = React.createContext<IHost | null>(null);

/** Give what components may ask of JupyterLab. */
export function useHost(): IHost {
  const host = React.useContext(HostContext);
  if (!host) {
    throw new Error('There is no host around this component.');
  }
  return host;
}

/** Call `react` whenever something was changed from here. */
export function useChanged(react: () => void): void {
  const { changed } = useHost();
  React.useEffect(() => {
    changed.connect(react);
    return () => void changed.disconnect(react);
  }, [changed, react]);
}

const ShownContext = React.createContext(false);

/** Tell whether the widget around the component can be seen right now. */
export function useShown(): boolean {
  const page = usePageVisible();
  return React.useContext(ShownContext) && page;
}

/** A widget that renders a component with its host, and tells it whether it is shown. */
export class HostedWidget extends ReactWidget {
  constructor(
    private readonly _host: IHost,
    private readonly _component: React.ReactElement
  ) {
    super();
    this.addClass('hm-Widget');
  }

  protected override render(): React.ReactElement {
    return (
      <HostContext.Provider value={this._host}>
        <ShownContext.Provider value={this.isVisible}>{this._component}</ShownContext.Provider>
      </HostContext.Provider>
    );
  }

  protected override onAfterShow(): void {
    this.update();
  }

  protected override onAfterHide(): void {
    this.update();
  }
}
