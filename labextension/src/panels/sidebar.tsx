import { addIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { useHost } from '../host';
import { usageIcon } from '../icon';
import { IconButton } from '../parts';
import { Tabs } from '../tabs';
import { Footer } from './footer';
import { JobList } from './jobs';
import { HomeBar } from './home';
import { NoticeBar } from './notice';
import { RunList } from './runs';
import { ScheduleList } from './schedules';
import { ServerLine } from './server';

const TABS = [
  { id: 'runs', label: 'Runs', view: RunList },
  { id: 'jobs', label: 'Jobs', view: JobList },
  { id: 'schedules', label: 'Schedules', view: ScheduleList }
] as const;

/** The sidebar: what ran, what can run, what will run. */
export function Sidebar(): React.ReactElement {
  const { openForm, openUsage } = useHost();
  const [current, setCurrent] = React.useState<string>('runs');
  const tab = TABS.find(one => one.id === current) ?? TABS[0];
  return (
    <div className="hm-Sidebar">
      <header className="hm-Sidebar-header">
        <h2>Himalia</h2>
        <span>
          <IconButton icon={usageIcon} label="Usage and quotas" onClick={openUsage} />
          <IconButton icon={addIcon} label="New job…" onClick={() => openForm({})} />
        </span>
      </header>
      <NoticeBar />
      <HomeBar />
      <Tabs id="hm-sidebar" label="Himalia" tabs={TABS} current={current} onChoose={setCurrent}>
        <tab.view />
      </Tabs>
      <ServerLine />
      <Footer />
    </div>
  );
}
