// The admin page: plain modules that browsers load as they are.
import js from '@eslint/js';

const globals = [
  'AbortController',
  'AbortSignal',
  'CSS',
  'Element',
  'HTMLElement',
  'Node',
  'ReadableStream',
  'Response',
  'TextDecoderStream',
  'URLSearchParams',
  'clearTimeout',
  'document',
  'fetch',
  'history',
  'location',
  'setInterval',
  'setTimeout',
  'window'
];

export default [
  js.configs.recommended,
  {
    languageOptions: {
      globals: Object.fromEntries(globals.map(name => [name, 'readonly']))
    },
    rules: {
      eqeqeq: 'error',
      'max-lines': ['error', { max: 260 }],
      'no-console': 'error',
      'no-control-regex': 'off',
      'no-restricted-properties': [
        'error',
        // Whatever a user named is shown as text.
        { property: 'innerHTML', message: 'Use fill().' },
        { property: 'outerHTML', message: 'Use fill().' },
        { property: 'insertAdjacentHTML', message: 'Use fill().' }
      ]
    }
  }
];
