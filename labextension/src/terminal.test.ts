import { expect, it } from 'vitest';

import { plainText } from './terminal';

it('leaves out colours and links', () => {
  expect(plainText('\x1b[1;31mbad\x1b[0m \x1b]8;;https://x.example\x07link\x1b]8;;\x07')).toBe(
    'bad link'
  );
});

it('shows of a rewritten line what was written last', () => {
  expect(plainText('10 %\r50 %\r100 %\nnext\r\nlast\r')).toBe('100 %\nnext\nlast');
});

it('leaves out control characters', () => {
  expect(plainText('a\x00b\x07c\td')).toBe('abc\td');
});
