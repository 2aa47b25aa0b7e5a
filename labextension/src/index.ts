import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import { PageConfig } from '@jupyterlab/coreutils';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IMarkdownParser } from '@jupyterlab/rendermime';
import { Signal } from '@lumino/signaling';
import * as React from 'react';

import { Api } from './api';
import { HostedWidget, IHost } from './host';
import { himaliaIcon } from './icon';
import { addCommands, CommandIds } from './commands';
import { escapeHtml } from './pages/document';
import { Pages } from './pages/pages';
import { Sidebar } from './panels/sidebar';

/** The sidebar, its pages, and the ways that lead there from notebooks and files. */
const plugin: JupyterFrontEndPlugin<void> = {
  id: '@himalia/lab:plugin',
  description: 'Notebooks as jobs: the Himalia sidebar with runs, jobs and schedules.',
  autoStart: true,
  requires: [INotebookTracker],
  optional: [
    ICommandPalette,
    IDefaultFileBrowser,
    ILayoutRestorer,
    IMarkdownParser,
    IEditorLanguageRegistry
  ],
  activate: (
    app: JupyterFrontEnd,
    notebooks: INotebookTracker,
    palette: ICommandPalette | null,
    files: IDefaultFileBrowser | null,
    restorer: ILayoutRestorer | null,
    markdown: IMarkdownParser | null,
    languages: IEditorLanguageRegistry | null
  ) => {
    const { commands, serviceManager, shell } = app;
    const host: IHost = {
      api: new Api(serviceManager.serverSettings),
      changed: new Signal({}),
      openRun: runId => void commands.execute(CommandIds.openRun, { runId }),
      openForm: start => void commands.execute(CommandIds.openForm, { ...start }),
      openSchedule: start => void commands.execute(CommandIds.openSchedule, { ...start }),
      openUsage: () => void commands.execute(CommandIds.openUsage),
      server: PageConfig.getOption('hubServerUser') ? PageConfig.getOption('hubServerName') : null,
      readNotebook: async path =>
        (await serviceManager.contents.get(path, { type: 'notebook', content: true })).content,
      renderMarkdown: async source => (markdown ? markdown.render(source) : ''),
      highlight: async (source, language) => {
        const code = document.createElement('code');
        const known = languages?.findBest(language) ?? null;
        await languages?.highlight(source, known, code);
        return known ? code.innerHTML : escapeHtml(source);
      }
    };

    const sidebar = new HostedWidget(host, React.createElement(Sidebar));
    sidebar.id = 'himalia-sidebar';
    sidebar.title.icon = himaliaIcon;
    sidebar.title.caption = 'Himalia: jobs, runs and schedules';
    sidebar.node.setAttribute('role', 'region');
    sidebar.node.setAttribute('aria-label', 'Himalia');
    shell.add(sidebar, 'left', { rank: 350, type: 'Himalia' });
    restorer?.add(sidebar, 'himalia-sidebar');

    addCommands({ app, host, notebooks, files, pages: new Pages(app, host, restorer) });
    for (const command of [
      CommandIds.runAsJob,
      CommandIds.openForm,
      CommandIds.showPanel,
      CommandIds.openUsage
    ]) {
      palette?.addItem({ command, category: 'Himalia' });
    }
  }
};

export default plugin;
