// Renews the session of this browser while a page is open: the signed token lives for minutes, the page for hours.
// All tabs share one clock in localStorage, so that one of them asks. Once the session has ended, the page is opened
// anew, and the gate leads to the sign-in page and back.
export default function ({ data }) {
  if (data.leave) {
    // What Streamlit does to the address at that moment may end the first try, and a try ends the one before: each waits
    // twice as long, or an answer that takes longer than the wait would never be shown.
    window.isTelepathyLeft = true;
    let again;
    const leave = (waitMs) => {
      window.location.replace(data.leave);
      again = setTimeout(leave, waitMs, 2 * waitMs);
    };
    leave(3_000);
    return () => clearTimeout(again);
  }
  const CLOCK = "telepathy_renewed_at";
  if (localStorage.getItem(CLOCK) === null) localStorage.setItem(CLOCK, String(Date.now()));  // just signed in
  const renew = async () => {
    if (window.isTelepathyLeft) return;
    if (Date.now() - Number(localStorage.getItem(CLOCK)) < data.everyMs) return;
    localStorage.setItem(CLOCK, String(Date.now()));
    try {
      // A page that is left in the middle would lose the new cookies, and the old ones used again end the session.
      const how = { method: "POST", credentials: "same-origin", keepalive: true };
      const answer = await fetch("/api/v1/auth/refresh", how);
      if (answer.status === 401 && !window.isTelepathyLeft) {  // else it would end the way to the sign-in page
        window.isTelepathyLeft = true;
        window.location.reload();
      }
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
