import type { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import type { LabIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { CommandIds } from '../commands';
import { HostedWidget, IHost } from '../host';
import { clockIcon, himaliaIcon, usageIcon } from '../icon';
import { JobPage } from '../kinds/job';
import { RunPage } from './run';
import { SchedulePage } from './schedule';
import { UsagePage } from './usage';

type Page = MainAreaWidget<HostedWidget>;

/** The pages in the main area: one of a kind for each thing, found again when it is open. */
export class Pages {
  private readonly _runs = new WidgetTracker<Page>({ namespace: 'himalia-runs' });
  private readonly _open = new Map<string, Page>();

  constructor(
    private readonly _app: JupyterFrontEnd,
    private readonly _host: IHost,
    restorer: ILayoutRestorer | null
  ) {
    void restorer?.restore(this._runs, {
      command: CommandIds.openRun,
      args: page => ({ runId: page.id.replace('himalia-run-', ''), name: page.title.label }),
      name: page => page.id
    });
  }

  /** Show a run. */
  openRun(runId: string, name = 'Run'): void {
    const page = this._show(`himalia-run-${runId}`, name, himaliaIcon, tab =>
      React.createElement(RunPage, { runId, ...tab })
    );
    if (!this._runs.has(page)) {
      void this._runs.add(page);
    }
  }

  /** Show the form of a new job, or of one that exists. */
  openForm(start: { notebook?: string; jobId?: string }): void {
    const id = `himalia-form-${start.jobId ?? start.notebook ?? ''}`;
    this._show(id, start.jobId ? 'Edit job' : 'New job', himaliaIcon, tab =>
      React.createElement(JobPage, { ...start, ...tab })
    );
  }

  /** Show the editor of a schedule. */
  openSchedule(start: { jobId: string; scheduleId?: string }): void {
    const id = `himalia-schedule-${start.scheduleId ?? start.jobId}`;
    this._show(id, 'Schedule', clockIcon, tab =>
      React.createElement(SchedulePage, { ...start, ...tab })
    );
  }

  /** Show what the user has used. */
  openUsage(): void {
    this._show('himalia-usage', 'Usage', usageIcon, () => React.createElement(UsagePage));
  }

  private _show(
    id: string,
    label: string,
    icon: LabIcon,
    render: (tab: ITab) => React.ReactElement
  ): Page {
    let page = this._open.get(id);
    if (!page) {
      page = this._make(id, label, icon, render);
    }
    if (!page.isAttached) {
      this._app.shell.add(page, 'main', { type: 'Himalia' });
    }
    this._app.shell.activateById(id);
    return page;
  }

  private _make(
    id: string,
    label: string,
    icon: LabIcon,
    render: (tab: ITab) => React.ReactElement
  ): Page {
    const tab: ITab = {
      onTitle: title => {
        made.title.label = title;
        if (this._runs.has(made)) {
          void this._runs.save(made);
        }
      },
      onClose: () => made.close()
    };
    const made = new MainAreaWidget({ content: new HostedWidget(this._host, render(tab)) });
    made.id = id;
    made.title.label = label;
    made.title.icon = icon;
    made.title.closable = true;
    this._open.set(id, made);
    made.disposed.connect(() => this._open.delete(id));
    return made;
  }
}

/** What a page may do with its own tab. */
export interface ITab {
  onTitle: (title: string) => void;
  onClose: () => void;
}
