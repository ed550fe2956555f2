// Numbers and states as people read them.

const FINAL = new Set(["done", "failed", "cancelled", "expired"]);

export const isFinal = (state) => FINAL.has(state);

export function formatAge(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

/** A reference as it is, the id of uploaded samples by its beginning. */
export const formatDataset = (name) => (/^[0-9a-f]{64}$/.test(name) ? `${name.slice(0, 12)}…` : name);

export const formatShare = (share) => `${Math.round(100 * share)} %`;

export const formatBytes = (n) => (n < 10240 ? `${n} bytes` : `${(n / 1024).toFixed(0)} KiB`);
