import { LabIcon } from '@jupyterlab/ui-components';

/** A mountain: the product's own mark. */
export const himaliaIcon = new LabIcon({
  name: 'himalia:mountain',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="16">
  <path class="jp-icon3 jp-icon-selectable" fill="#616161"
    d="M9 4.2 1.3 19h21.4L16.5 8.6l-2.6 4.1L9 4.2Zm0 4 2.2 3.8-1.5 1.3-1.1-1-1.2 1.3-1-1.1L9 8.2Z"/>
</svg>`
});

/** A clock, for schedules. */
export const clockIcon = new LabIcon({
  name: 'himalia:clock',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="16">
  <path class="jp-icon3 jp-icon-selectable" fill="#616161"
    d="M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20Zm0 2a8 8 0 1 1 0 16 8 8 0 0 1 0-16Zm-1 3v6l5 3 1-1.6-4.2-2.5V7H11Z"/>
</svg>`
});

/** Three bars, for usage. */
export const usageIcon = new LabIcon({
  name: 'himalia:usage',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="16">
  <path class="jp-icon3 jp-icon-selectable" fill="#616161"
    d="M3 20h18v2H3v-2Zm1-8h4v7H4v-7Zm6-5h4v12h-4V7Zm6-5h4v17h-4V2Z"/>
</svg>`
});
