import type { HomeUse, Profile } from './model';

/** Write a duration in seconds as people say it: `0.24 s`, `12 s`, `3 min 5 s`, `2 h 10 min`. */
export function duration(seconds: number): string {
  if (seconds < 10) {
    return `${Number(seconds.toFixed(seconds < 1 ? 2 : 1))} s`;
  }
  const whole = Math.round(seconds);
  if (whole < 60) {
    return `${whole} s`;
  }
  const units: [string, number][] = [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
    ['s', 1]
  ];
  const first = units.findIndex(([, size]) => whole >= size);
  const parts: string[] = [];
  let rest = whole;
  for (const [unit, size] of units.slice(first, first + 2)) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) {
      parts.push(`${count} ${unit}`);
    }
  }
  return parts.join(' ');
}

/** Say how long ago, or how far ahead, a moment is. */
export function relative(iso: string, now = Date.now()): string {
  const seconds = (now - Date.parse(iso)) / 1000;
  if (Math.abs(seconds) < 5) {
    return 'just now';
  }
  const units: [string, number][] = [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
    ['s', 1]
  ];
  const [unit, size] = units.find(([, one]) => Math.abs(seconds) >= one) ?? ['s', 1];
  const text = `${Math.floor(Math.abs(seconds) / size)} ${unit}`;
  return seconds > 0 ? `${text} ago` : `in ${text}`;
}

/** Write a moment in the reader's own zone and language. */
export function moment(iso: string): string {
  return new Date(iso).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
}

/** Write a number of bytes with a binary unit. */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}

/** Say a number with its noun: `1 run`, `2 runs`. */
export function count(number: number, noun: string): string {
  return `${number.toLocaleString()} ${noun}${number === 1 ? '' : 's'}`;
}

/** Say in one line what a run is given, and for how much. */
export function profileText(profile: Profile): string {
  const { cpu, memory_bytes, gpu } = profile;
  const parts = [
    cpu === null ? '' : count(cpu, 'core'),
    memory_bytes === null ? '' : bytes(memory_bytes),
    gpu === 0 ? '' : count(gpu, 'GPU'),
    profile.price
  ].filter(Boolean);
  return parts.length === 0 ? profile.title : `${profile.title} (${parts.join(', ')})`;
}

/** Say how full a home is. */
export function homeText(home: HomeUse): string {
  if (home.size_bytes === null) {
    return 'It cannot be reached.';
  }
  if (home.used_bytes === null) {
    return `${bytes(home.size_bytes)}; what is used of it is being counted.`;
  }
  const least = home.is_at_least ? 'At least ' : '';
  const left = home.free_bytes === null ? '' : `, ${bytes(home.free_bytes)} left`;
  return `${least}${bytes(home.used_bytes)} of ${bytes(home.size_bytes)} used${left}.`;
}
