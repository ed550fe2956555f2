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

export const formatBytes = (n) => {
  if (n < 10240) return `${n} bytes`;
  if (n < 10240 * 1024) return `${(n / 1024).toFixed(0)} KiB`;
  const mib = n / (1024 * 1024);
  return mib < 2048 ? `${mib.toFixed(0)} MiB` : `${(mib / 1024).toFixed(1)} GiB`;
};

/** What a span will take, no more exactly than it is known. */
export const formatSpan = (s) => (s < 10 ? `${s.toFixed(1)} s` : formatAge(s));
