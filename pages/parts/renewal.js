// Renews the session of this browser while a page is open: the signed token lives for minutes, the page for hours.
// All tabs share one clock in localStorage, so that one of them asks. Once the session has ended, the page is opened
// anew, and the gate leads to the sign-in page and back.
export default function ({ data }) {
  if (data.leave) {
    const leave = () => window.location.replace(data.leave);
    leave();
    const again = setInterval(leave, 3_000);  // what Streamlit does to the address at that moment may end the first try
    return () => clearInterval(again);
  }
  const CLOCK = "telepathy_renewed_at";
  if (localStorage.getItem(CLOCK) === null) localStorage.setItem(CLOCK, String(Date.now()));  // just signed in
  const renew = async () => {
    if (Date.now() - Number(localStorage.getItem(CLOCK)) < data.everyMs) return;
    localStorage.setItem(CLOCK, String(Date.now()));
    try {
      const answer = await fetch("/api/v1/auth/refresh", { method: "POST", credentials: "same-origin" });
      if (answer.status === 401) window.location.reload();
    } catch {
      localStorage.removeItem(CLOCK);  // no connection: the next tick tries again
    }
  };
  const timer = setInterval(renew, Math.min(data.everyMs / 4, 60_000));
  document.addEventListener("visibilitychange", renew);
  return () => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", renew);
  };
}
