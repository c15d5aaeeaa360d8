#include "common/http.h"

#include <stdint.h>
#include <string.h>

static bool is_leap(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_in_year(int year)
{
    return 365 + is_leap(year);
}

static int days_in_month(int month, int year)
{
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month] + (month == 1 && is_leap(year));
}

static void put_two_digits(char *at, int number)
{
    at[0] = (char)('0' + number / 10);
    at[1] = (char)('0' + number % 10);
}

/* By hand: gmtime_r and strftime open /etc/localtime at their first call (tzset(3)), and strftime
 * asks the locale for the names. */
void http_date(char out[HTTP_DATE_SIZE], time_t date)
{
    /* From Thursday: 1 January 1970 was one. */
    static const char weekdays[][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    int64_t days = date / 86400;
    int second = (int)(date % 86400), year = 1970, month = 0;

    memcpy(out, "Thu, 01 Jan 1970 00:00:00 GMT", HTTP_DATE_SIZE);
    memcpy(out, weekdays[days % 7], 3);
    for (; days >= days_in_year(year); year++)
        days -= days_in_year(year);
    for (; days >= days_in_month(month, year); month++)
        days -= days_in_month(month, year);
    put_two_digits(out + 5, (int)days + 1);
    memcpy(out + 8, months[month], 3);
    put_two_digits(out + 12, year / 100 % 100);
    put_two_digits(out + 14, year % 100);
    put_two_digits(out + 17, second / 3600);
    put_two_digits(out + 20, second / 60 % 60);
    put_two_digits(out + 23, second % 60);
}
