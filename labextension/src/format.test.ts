import { describe, expect, it } from 'vitest';

import { bytes, count, duration, homeText, profileText, relative } from './format';

describe('durations', () => {
  it.each([
    [0.014, '0.01 s'],
    [0.5, '0.5 s'],
    [3.84, '3.8 s'],
    [59.4, '59 s'],
    [60, '1 min'],
    [185, '3 min 5 s'],
    [7800, '2 h 10 min'],
    [90_061, '1 d 1 h']
  ])('%d seconds are written %s', (seconds, text) => {
    expect(duration(seconds)).toBe(text);
  });
});

describe('moments', () => {
  const now = Date.parse('2026-03-01T12:00:00Z');
  it.each([
    ['2026-03-01T11:59:58Z', 'just now'],
    ['2026-03-01T11:59:00Z', '1 min ago'],
    ['2026-02-27T11:00:00Z', '2 d ago'],
    ['2026-03-01T15:30:00Z', 'in 3 h']
  ])('%s is %s', (iso, text) => {
    expect(relative(iso, now)).toBe(text);
  });
});

describe('sizes and numbers', () => {
  it('have binary units', () => {
    expect([bytes(0), bytes(1536), bytes(50 * 2 ** 20)]).toEqual(['0 B', '1.5 KiB', '50 MiB']);
  });
  it('agree with their noun', () => {
    expect([count(1, 'run'), count(0, 'run')]).toEqual(['1 run', '0 runs']);
  });
});

describe('profiles', () => {
  const plain = {
    name: 'big',
    title: 'Big',
    description: '',
    cpu: null,
    memory_bytes: null,
    gpu: 0,
    price: '',
    is_default: false
  };
  it('say in one line what they give, and for how much', () => {
    expect(profileText(plain)).toBe('Big');
    const all = { ...plain, cpu: 1, memory_bytes: 16 * 2 ** 30, gpu: 2, price: '1 € an hour' };
    expect(profileText(all)).toBe('Big (1 core, 16 GiB, 2 GPUs, 1 € an hour)');
  });
});

describe('homes', () => {
  const home = {
    size_bytes: 10 * 2 ** 30,
    used_bytes: 9.5 * 2 ** 30,
    free_bytes: 2 ** 29,
    is_at_least: false,
    is_almost_full: true,
    is_rescued: false,
    looked_at: '2026-03-01T12:00:00Z'
  };
  it('say how full they are, as far as that is known', () => {
    expect(homeText(home)).toBe('9.5 GiB of 10 GiB used, 512 MiB left.');
    expect(homeText({ ...home, is_at_least: true })).toContain('At least 9.5 GiB');
    expect(homeText({ ...home, used_bytes: null })).toContain('being counted');
    expect(homeText({ ...home, size_bytes: null })).toBe('It cannot be reached.');
  });
});
