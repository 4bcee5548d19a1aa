/* MCUmgr starts by itself. */
#include <zephyr/kernel.h>

int main(void)
{
	printk("the application runs\n");
	return 0;
}
