// Requests to this service, with the caller's key where one was given.

const NAME = "zkpot-key";
let key = sessionStorage.getItem(NAME) ?? "";

export function setKey(given) {
  key = given;
  sessionStorage.setItem(NAME, key);
}

class Refused extends Error {
  constructor(status, problem) {
    super([problem.title, problem.detail, problem.next_step].filter(Boolean).join("; "));
    this.status = status;
  }
}

export async function ask(path, options = {}) {
  const headers = { Accept: "application/json", ...options.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  const answer = await fetch(path, { ...options, headers });
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({ title: `status ${answer.status}` }));
    throw new Refused(answer.status, problem);
  }
  return answer;
}

export const askJson = async (path) => (await ask(path)).json();
