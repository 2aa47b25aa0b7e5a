import { defineConfig } from 'vitest/config';

// The components import JupyterLab, whose packages need a browser: the browser tests try them.
export default defineConfig({ test: { include: ['src/**/*.test.ts'] } });
