const page = new Page();
if (location.hash === "#selfcheck") selfcheck(page);
