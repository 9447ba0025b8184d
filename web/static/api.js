// Calls to the server's own API with the token of this browser tab.
const tokenKey = "malote-token";

export const token = {
  get: () => sessionStorage.getItem(tokenKey) ?? "",
  set: value => sessionStorage.setItem(tokenKey, value),
  clear: () => sessionStorage.removeItem(tokenKey),
};

export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function call(method, path, body) {
  const answer = await fetch(`/api/v1/${path}`, {
    method,
    headers: { authorization: `Bearer ${token.get()}`, ...(body === undefined ? {} : { "content-type": "application/json" }) },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    const detail = Array.isArray(problem.detail) ? problem.detail.map(d => d.msg).join("; ") : problem.detail;
    throw new ApiError(answer.status, detail ?? answer.statusText);
  }
  return answer;
}

// query turns an object into a query string, empty values left out.
export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

export const get = async path => (await call("GET", path)).json();
export const getBytes = async path => new Uint8Array(await (await call("GET", path)).arrayBuffer());
export const post = async (path, body = {}) => {
  const answer = await call("POST", path, body);
  return answer.status === 204 ? null : answer.json();
};
