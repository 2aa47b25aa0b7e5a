import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import type { INotebookTracker } from '@jupyterlab/notebook';
import type { ReadonlyJSONObject } from '@lumino/coreutils';

import type { IHost } from './host';
import { clockIcon, himaliaIcon, usageIcon } from './icon';
import type { Pages } from './pages/pages';

/** Names of the commands, as menus, key bindings and tests use them. */
export const CommandIds = {
  runAsJob: 'himalia:run-as-job',
  runFileAsJob: 'himalia:run-file-as-job',
  showPanel: 'himalia:show-panel',
  openForm: 'himalia:open-form',
  openRun: 'himalia:open-run',
  openSchedule: 'himalia:open-schedule',
  openUsage: 'himalia:open-usage'
} as const;

/** What the commands act on. */
export interface ICommandContext {
  app: JupyterFrontEnd;
  host: IHost;
  notebooks: INotebookTracker;
  files: IDefaultFileBrowser | null;
  pages: Pages;
}

/** Register the commands. */
export function addCommands(context: ICommandContext): void {
  const { app, host, notebooks, files, pages } = context;
  const { commands, shell } = app;

  commands.addCommand(CommandIds.runAsJob, {
    label: 'Run as job…',
    caption: 'Run this notebook as a job that goes on without the browser',
    icon: himaliaIcon,
    describedBy: { args: {} },
    isEnabled: () => notebooks.currentWidget !== null,
    execute: async () => {
      const panel = notebooks.currentWidget;
      if (!panel) {
        return;
      }
      if (panel.context.model.dirty && !panel.context.model.readOnly) {
        await panel.context.save();
      }
      host.openForm({ notebook: panel.context.localPath });
    }
  });
  commands.addCommand(CommandIds.runFileAsJob, {
    label: 'Run as job…',
    icon: himaliaIcon,
    describedBy: { args: {} },
    execute: () => {
      const item = files?.selectedItems().next().value;
      if (item) {
        host.openForm({ notebook: item.path });
      }
    }
  });
  commands.addCommand(CommandIds.showPanel, {
    label: 'Show Himalia',
    caption: 'Show the Himalia sidebar',
    describedBy: { args: {} },
    execute: () => shell.activateById('himalia-sidebar')
  });
  commands.addCommand(CommandIds.openForm, {
    label: 'New job…',
    icon: himaliaIcon,
    describedBy: { args: object({ notebook: 'string', jobId: 'string' }) },
    execute: args => pages.openForm({ notebook: text(args.notebook), jobId: text(args.jobId) })
  });
  commands.addCommand(CommandIds.openRun, {
    label: 'Open run',
    icon: himaliaIcon,
    describedBy: { args: object({ runId: 'string', name: 'string' }) },
    execute: args => pages.openRun(text(args.runId) ?? '', text(args.name))
  });
  commands.addCommand(CommandIds.openSchedule, {
    label: 'Schedule job…',
    icon: clockIcon,
    describedBy: { args: object({ jobId: 'string', scheduleId: 'string' }) },
    execute: args =>
      pages.openSchedule({ jobId: text(args.jobId) ?? '', scheduleId: text(args.scheduleId) })
  });
  commands.addCommand(CommandIds.openUsage, {
    label: 'Usage and quotas',
    caption: 'Show what you have used, and what you may use',
    icon: usageIcon,
    describedBy: { args: {} },
    execute: () => pages.openUsage()
  });
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function object(properties: Record<string, string>): ReadonlyJSONObject {
  return {
    type: 'object',
    properties: Object.fromEntries(
      Object.entries(properties).map(([name, type]) => [name, { type }])
    )
  };
}
